"""From decoded samples to what an encoder takes: channels, sample rate, whole hops.

Rates are changed by torchaudio's windowed sinc. It holds one filter for every phase, which is
`wanted / gcd` filters of more than `original / gcd` taps: 100 KiB from 44,100 to 24,000 Hz, but
gigabytes from 16,001. Where they are that many, the same filter is computed for each sample as it
is needed: the same samples up to the rounding of float32.

    y[j] = b/f sum_s x[s] sinc(b (s/f - j/g)) cos^2(pi b (s/f - j/g) / 2L),  |b (s/f - j/g)| < L

with f and g the original and the wanted rate, b = 0.99 min(f, g) and L = 6, the defaults of
`torchaudio.transforms.Resample`; see https://ccrma.stanford.edu/~jos/resample/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torchaudio.transforms import Resample

from latentbench.corpora import AudioError
from latentbench.corpora.corpus import MOST_SAMPLES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latentbench.encoders import Encoder

__all__ = ["PREPARATION", "PreparedAudio", "is_odd", "prepare", "resampled"]

PREPARATION = "mono by mean; torchaudio Resample defaults; zero-padded to whole hops"
STEREO = 2
MOST_TAPS = 2**20  # of all filters of torchaudio together: 4 MiB
AT_ONCE = 2**20  # taps computed at once
ROLLOFF = 0.99
ZEROS = 6


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


def is_odd(original: int, wanted: int) -> bool:
    """Whether torchaudio's filters between the two rates would not fit into a few MiB."""
    divisor = math.gcd(original, wanted)
    one, other = original // divisor, wanted // divisor
    return other * (one + 2 * _reach(one, other)) > MOST_TAPS


def resampled(audio: torch.Tensor, original: int, wanted: int) -> torch.Tensor:
    """Audio float32 [channels, N] at another rate: [channels, ceil(N * wanted / original)]."""
    if is_odd(original, wanted):
        return _sample_by_sample(audio, original, wanted)
    changed: torch.Tensor = _resampler(original, wanted)(audio)
    return changed


@lru_cache(maxsize=16)
def _resampler(original: int, wanted: int) -> Resample:
    return Resample(original, wanted)


def _reach(original: int, wanted: int) -> int:
    """Samples on either side that the filter sees."""
    return math.ceil(ZEROS * original / (ROLLOFF * min(original, wanted)))


def _sample_by_sample(audio: torch.Tensor, original: int, wanted: int) -> torch.Tensor:
    length = -(-audio.shape[-1] * wanted // original)
    reach = _reach(original, wanted)
    taps = torch.arange(-reach, reach + 2)
    padded = torch.nn.functional.pad(audio, (reach, reach + 2))
    result = torch.empty(audio.shape[0], length)
    step = max(1, AT_ONCE // len(taps))
    for start in range(0, length, step):
        place = torch.arange(start, min(start + step, length))
        near = place * original // wanted  # the last sample that is not after it
        # Whole numbers, so that nothing is lost far from the start.
        apart = (near * wanted - place * original)[:, None] + taps * wanted
        seen = padded[:, (near[:, None] + taps + reach).clamp(max=padded.shape[1] - 1)]
        result[:, place] = (seen * _filter(apart, original, wanted)).sum(-1)
    return result


def _filter(apart: torch.Tensor, original: int, wanted: int) -> torch.Tensor:
    """The filter [samples, taps], float32; `apart` is in units of 1 / (original wanted) s."""
    bandwidth = ROLLOFF * min(original, wanted)
    t = (apart.double() * (bandwidth / (original * wanted))).clamp(-ZEROS, ZEROS)
    window = torch.cos(t * (torch.pi / ZEROS / 2)) ** 2
    return (torch.sinc(t) * window * (bandwidth / original)).float()
