"""From decoded samples to what an encoder takes: channels, sample rate, whole hops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torchaudio.transforms import Resample

from latentbench.corpora import AudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latentbench.encoders import Encoder

__all__ = ["PREPARATION", "PreparedAudio", "prepare"]

PREPARATION = "mono by mean; torchaudio Resample defaults; zero-padded to whole hops"
STEREO = 2


@dataclass(frozen=True)
class PreparedAudio:
    """One utterance as an encoder takes it.

    Attributes:
        samples: float32 [channels, T], T a multiple of the hop.
        length: samples before padding.
        energy: float32 [frames], RMS of each frame's `hop` samples, padding included.
        segments: frames of each stretch of consecutive frames.
    """

    samples: torch.Tensor
    length: int
    energy: torch.Tensor
    segments: tuple[int, ...]


def prepare(waveform: NDArray[np.float32], sample_rate: float, encoder: Encoder) -> PreparedAudio:
    """Mix, resample and pad one whole utterance.

    Args:
        waveform: float32 [channels, samples] at `sample_rate` Hz: mono, stereo, or as many
            channels as the encoder takes.
        sample_rate: in Hz.
        encoder: whose sample rate, hop and channels are wanted.

    Raises:
        AudioError: more than two channels where the encoder takes fewer, or no samples.
    """
    channels, samples = waveform.shape
    if channels > STEREO and channels != encoder.channels:
        raise AudioError(f"{channels} channels, mono or stereo expected")
    if samples == 0:
        raise AudioError("no samples")
    audio = torch.from_numpy(waveform)
    if encoder.channels == 1:
        audio = audio.mean(0, keepdim=True)
    else:
        audio = audio.expand(encoder.channels, -1)
    if sample_rate != encoder.sample_rate:
        audio = _resampler(sample_rate, encoder.sample_rate)(audio)
    length = audio.shape[-1]
    padded = torch.nn.functional.pad(audio, (0, -length % encoder.hop))
    segments = encoder.segments(length)
    starts = torch.cat([start + encoder.hop * torch.arange(frames) for start, frames in segments])
    hops = padded.unfold(1, encoder.hop, 1)[:, starts.clamp(max=padded.shape[1] - encoder.hop)]
    energy = hops.square().mean((0, 2)).sqrt()
    return PreparedAudio(padded, length, energy, tuple(segment.frames for segment in segments))


@lru_cache(maxsize=16)
def _resampler(original: float, wanted: float) -> Resample:
    return Resample(round(original), round(wanted))
