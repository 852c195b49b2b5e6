"""Hop, size, frame count and look-ahead of a model, measured by giving it audio.

A stack of strided layers of any padding gives floor((n + c) / hop) frames for n samples. The two
constants follow from the lengths at which a frame more comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from latentbench.encoders import WHOLE_UTTERANCE, Segment
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from latentbench_transformers.features import Features
    from latentbench_transformers.model import AudioModel

__all__ = ["Geometry", "look_ahead", "measure"]

PROBED_FRAMES = 64
PROBED_SECONDS = 2.0
CHANGED = 1e-10  # of the latents' largest magnitude: above the rounding of float64
LEVEL = 0.1


@dataclass(frozen=True)
class Geometry:
    """Where the frames of a model are.

    Attributes:
        rate: of the audio, in Hz.
        hop: samples from one frame to the next.
        dim: D.
        offset: c, so that n samples give floor((n + c) / hop) frames.
        channels: of the audio.
        window: samples that one call takes; 0 where there is no limit.
        stride: samples from one window to the next.
    """

    rate: int
    hop: int
    dim: int
    offset: int
    channels: int = 1
    window: int = 0
    stride: int = 0

    def frames(self, samples: int) -> int:
        """Frames of one call."""
        return max(0, (samples + self.offset) // self.hop)

    def segments(self, samples: int) -> tuple[Segment, ...]:
        """The stretches of frames of an utterance, one per call of the model."""
        if not self.window:
            return (Segment(0, self.frames(samples)),)
        starts = range(0, samples, self.stride)
        found = [Segment(at, self.frames(min(samples - at, self.window))) for at in starts]
        return tuple(found) or (Segment(0, 0),)


def measure(model: AudioModel, device: torch.device) -> Geometry:
    """The geometry of a model; sets its `time_axis` and, for a codec, its `multiple`.

    Raises:
        UsageError: the layer gives no steady sequence of frames.
    """
    features = model.features
    short, long = (model.shape(_noise(model, n, device)) for n in _lengths(model))
    if short == long and features.window:
        return _of_fixed_window(model, short)
    if (short[0] == long[0]) == (short[1] == long[1]):
        raise _unsteady(model, f"{list(short)} and {list(long)} for audio of two lengths")
    model.time_axis = 1 if short[0] != long[0] else 2
    found = _counted(model, long[2 - model.time_axis], device)
    if features.is_codec and not features.window:  # zeros would dilute the loudness of a window
        model.multiple = found.hop
        extra = len(model(_noise(model, 8 * found.hop, device))) - 8
        found = replace(found, offset=found.hop - 1 + extra * found.hop)
    for samples in (5 * found.hop + 1, 9 * found.hop - 1, 12 * found.hop):
        came = len(model(_noise(model, samples, device)))
        if came != found.frames(samples):
            raise _unsteady(model, f"{came} frames for {samples} samples at a hop of {found.hop}")
    return found


def look_ahead(model: AudioModel, geometry: Geometry, device: torch.device) -> int:
    """How many frames after its own a frame sees, found by changing later audio.

    `WHOLE_UTTERANCE` where the first frame sees the last quarter of the audio; within windows,
    their frames.
    """
    frames = max(PROBED_FRAMES, round(PROBED_SECONDS * geometry.rate / geometry.hop))
    if geometry.window:
        frames = min(frames, geometry.frames(geometry.window) - 1)
    before = _noise(model, frames * geometry.hop, device)
    cut = frames * 3 // 4
    after = before.clone()
    after[:, cut * geometry.hop :] = -before.flip(1)[:, cut * geometry.hop :]
    model.double()
    one, other = model(before), model(after)
    model.float()  # the very weights it had: every float32 is a float64
    moved = ((one - other).abs().amax(1) > CHANGED * one.abs().max()).nonzero().flatten()
    first = int(moved[0]) if len(moved) else cut
    if first > 0:
        return max(0, cut - first)
    return geometry.frames(geometry.window) - 1 if geometry.window else WHOLE_UTTERANCE


def _lengths(model: AudioModel) -> tuple[int, int]:
    """Half a second and a second, inside any window."""
    rate = model.features.rate
    return rate // 2, rate


def _of_fixed_window(model: AudioModel, shape: tuple[int, int]) -> Geometry:
    """The geometry of a model whose extractor fills every input up to its window."""
    features, (frames, dim) = model.features, shape
    if features.window % frames or (not isinstance(model.layer, int) and model.layer != "latents"):
        raise _unsteady(model, f"{list(shape)} for audio of any length")
    hop = features.window // frames
    return _geometry(features, hop, dim, hop - 1)


def _counted(model: AudioModel, dim: int, device: torch.device) -> Geometry:
    """Hop and offset from the lengths of audio at which a frame more comes."""
    features = model.features
    short, long = _lengths(model)

    def frames(samples: int) -> int:
        return len(model(_noise(model, samples, device)))

    few, step = frames(short), (long - short) // (frames(long) - frames(short))

    def length_of(wanted: int, least: int) -> int:
        """The smallest number of samples over `least` with so many frames."""
        low, high = least, least + step
        while frames(high) < wanted:
            low, high = high, high + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if frames(middle) >= wanted else (middle, high)
        return high

    one = length_of(few + 1, short)
    two = length_of(few + 2, one)
    hop = two - one
    return _geometry(features, hop, dim, (few + 1) * hop - one)


def _geometry(features: Features, hop: int, dim: int, offset: int) -> Geometry:
    return Geometry(
        features.rate, hop, dim, offset, features.channels, features.window, features.stride
    )


def _noise(model: AudioModel, samples: int, device: torch.device) -> torch.Tensor:
    """The same quiet noise at every call, [channels, samples]."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(model.features.channels, samples, generator=generator)
    return (LEVEL * wave).to(device)


def _unsteady(model: AudioModel, found: str) -> UsageError:
    return UsageError(
        f"encoder.layer={model.layer} gives no frames at a steady hop: {found}.",
        "Choose another layer.",
    )
