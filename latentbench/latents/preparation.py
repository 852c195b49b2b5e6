"""From decoded samples to what an encoder takes: channels, sample rate, whole hops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.corpora import AudioError
from latentbench.corpora.corpus import MOST_SAMPLES
from latentbench.latents.resampling import resampled

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
        AudioError: more than two channels where the encoder takes fewer, no samples, or too many
            or too large ones.
    """
    channels, samples = waveform.shape
    if channels > STEREO and channels != encoder.channels:
        raise AudioError(f"{channels} channels, mono or stereo expected")
    if samples == 0:
        raise AudioError("no samples")
    if not sample_rate > 0:
        raise AudioError(f"a sample rate of {sample_rate:g} Hz")
    if encoder.channels * samples * encoder.sample_rate / sample_rate > MOST_SAMPLES:
        raise AudioError(f"more than {MOST_SAMPLES:,} samples at {encoder.sample_rate:g} Hz")
    audio = torch.from_numpy(waveform)
    if encoder.channels == 1:
        audio = audio.mean(0, keepdim=True)
    else:
        audio = audio.expand(encoder.channels, -1)
    if sample_rate != encoder.sample_rate:
        audio = resampled(audio, round(sample_rate), round(encoder.sample_rate))
    length = audio.shape[-1]
    padded = torch.nn.functional.pad(audio, (0, -length % encoder.hop))
    segments = encoder.segments(length)
    starts = torch.cat([start + encoder.hop * torch.arange(frames) for start, frames in segments])
    hops = padded.unfold(1, encoder.hop, 1)[:, starts.clamp(max=padded.shape[1] - encoder.hop)]
    energy = hops.square().mean((0, 2)).sqrt()
    if not energy.isfinite().all():
        raise AudioError("samples that are not finite, or too large to be squared")
    return PreparedAudio(padded, length, energy, tuple(segment.frames for segment in segments))
