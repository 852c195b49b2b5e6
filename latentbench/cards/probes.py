"""What an encoder does when its audio is cut, made louder, or led back to sound."""

from __future__ import annotations

import math
import time
from statistics import median
from typing import TYPE_CHECKING

import torch

from latentbench.cards.card import Decoded, Heard, LevelChange
from latentbench.conformance.lookahead import sees_ahead
from latentbench.errors import UsageError
from latentbench.latents.preparation import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.conformance.audio import EncoderSubject
    from latentbench.corpora import Utterance

__all__ = ["heard_of", "level_change", "spectral_distance", "start_of"]

MOST = 3  # utterances that are listened to
SECONDS = 8.0  # of each, at most
DECIBELS = (-6.0, 6.0)
SETTLED = 0.01
WINDOW_SECONDS = 0.025
FLOOR = 1e-6  # of the loudest power
SILENCE = 1e-20  # a sum of squares that is none
CALLS = 3


def heard_of(subject: EncoderSubject, utterances: Sequence[Utterance]) -> Heard:
    """Probe an encoder by some utterances, and by the audio of its conformance check.

    Args:
        subject: the encoder, on the CPU.
        utterances: of a corpus of audio, at least one.
    """
    waves = list(_waves(subject, utterances))
    frames = [subject.encode([wave])[0] for wave in waves]
    start, tried = start_of(subject, waves[0])
    return Heard(
        look_ahead=sees_ahead(subject),
        start=start,
        start_tried=tried,
        levels=tuple(_level(subject, waves, frames, decibels) for decibels in DECIBELS),
        decoded=_decoded(subject, waves, frames),
        times_real_time=_speed(subject, waves[0]),
    )


def start_of(subject: EncoderSubject, wave: torch.Tensor) -> tuple[int | None, int]:
    """Frames until the start is forgotten, and how many were looked at.

    Frames of the second half of the wave, encoded alone, are held against those after the first
    half. They agree once they differ by less than 1 % of the deviation of frames from their mean.

    Args:
        subject: the encoder.
        wave: float32 [channels, samples].

    Returns:
        None of frames that never agree; (None, 0) of an encoder that works in chunks.
    """
    encoder = subject.encoder
    if len(encoder.segments(wave.shape[-1])) > 1:
        return None, 0
    whole = subject.encode([wave])[0]
    half = len(whole) // 2
    alone = subject.encode([wave[:, half * encoder.hop :]])[0]
    later = whole[half:]
    apart = (alone[: len(later)] - later).norm(dim=1) > SETTLED * _spread([whole])
    unsettled = torch.nonzero(apart).flatten().tolist()
    first = max(unsettled, default=-1) + 1
    return (first if first < len(later) else None), len(later)


def level_change(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], decibels: float
) -> LevelChange:
    """How frames [F, D] of some utterances changed."""
    moved = torch.cat([b - a for a, b in zip(before, after, strict=True)]).double()
    squares = float(moved.square().sum(1).mean())
    constant = float(moved.mean(0).square().sum()) / squares if squares else 0.0
    return LevelChange(decibels, math.sqrt(squares) / (_spread(before) or 1.0), constant)


def spectral_distance(one: torch.Tensor, other: torch.Tensor, rate: float) -> float:
    """Log-spectral distance in dB of two waves [channels, samples]; see `Decoded`."""
    first, second = (_power(wave, rate) for wave in (one, other))
    floor = FLOOR * float(first.max())
    loud = (first > floor) & (second > floor)
    if not loud.any():
        return 0.0
    return float((10 * (first[loud] / second[loud]).log10()).square().mean().sqrt())


def _waves(subject: EncoderSubject, utterances: Sequence[Utterance]) -> Iterator[torch.Tensor]:
    """Audio as the encoder takes it, float32 [channels, samples], of evenly spaced utterances."""
    encoder = subject.encoder
    for one in utterances[:: max(1, len(utterances) // MOST)][:MOST]:
        samples, rate, _ = one.source.record(one.sample_rate)
        prepared = prepare(samples, rate, encoder)
        yield prepared.samples[:, : min(prepared.length, round(SECONDS * encoder.sample_rate))]


def _level(
    subject: EncoderSubject,
    waves: Sequence[torch.Tensor],
    frames: Sequence[torch.Tensor],
    decibels: float,
) -> LevelChange:
    gain = 10 ** (decibels / 20)
    louder = [subject.encode([gain * wave])[0] for wave in waves]
    return level_change(frames, louder, decibels)


def _decoded(
    subject: EncoderSubject, waves: Sequence[torch.Tensor], frames: Sequence[torch.Tensor]
) -> Decoded | None:
    encoder = subject.encoder
    try:
        with torch.inference_mode():
            sounds = [encoder.decode(one[None]) for one in frames]
    except UsageError:
        return None
    pairs = [
        (wave, sound.reshape(len(wave), -1)[:, : wave.shape[-1]])
        for wave, sound in zip(waves, sounds, strict=True)
    ]
    distances = [spectral_distance(wave, sound, encoder.sample_rate) for wave, sound in pairs]
    was, loud = (sum(float(one.square().sum()) for one in part) for part in zip(*pairs))  # noqa: B905 - pairs
    level = 10 * math.log10(max(loud, SILENCE) / max(was, SILENCE))
    return Decoded(sum(distances) / len(distances), level)


def _speed(subject: EncoderSubject, wave: torch.Tensor) -> float:
    seconds = []
    for _ in range(CALLS):
        began = time.perf_counter()
        subject.encode([wave])
        seconds.append(time.perf_counter() - began)
    return wave.shape[-1] / subject.encoder.sample_rate / median(seconds)


def _spread(frames: Sequence[torch.Tensor]) -> float:
    """Root mean square distance of frames [F, D] from their mean."""
    rows = torch.cat(list(frames)).double()
    return float((rows - rows.mean(0)).square().sum(1).mean().sqrt())


def _power(wave: torch.Tensor, rate: float) -> torch.Tensor:
    size = max(2, round(WINDOW_SECONDS * rate))
    window = torch.hann_window(size, dtype=torch.float64)
    seen = torch.stft(wave.double(), size, size // 2, window=window, return_complex=True)
    return seen.abs().square()
