"""Whether frames see as far ahead as their encoder declares, found by changing later audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentbench.conformance.check import Doubt, NonconformityError, Verdict
from latentbench.conformance.encoding import change
from latentbench.conformance.signals import noise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.conformance.encoding import EncoderSubject

__all__ = ["look_ahead"]

CHANGED = 1e-5  # of the latents' largest magnitude

# A frame that sees further only inside the first window of Phase 1 (W = 8 frames) does no harm:
# no target is that early. Padding by reflection at the start does this.
START = 8


@dataclass(frozen=True)
class _Sight:
    """Frame `frame` of a segment changed when audio from `hops` hops into the segment on did."""

    frame: int
    hops: float
    ahead: int
    size: float


def look_ahead(subject: EncoderSubject) -> Verdict:
    """A frame depends on audio up to look_ahead frames after its own hop, and no later.

    Declared too small, leaks go unflagged; too large, sound horizons are called leaky (a doubt).
    """
    declared = subject.encoder.look_ahead
    sights = list(_sights(subject))
    beyond = [sight for sight in sights if sight.ahead > declared]
    steady = [sight for sight in beyond if sight.hops > START]
    if steady:
        worst = max(steady, key=lambda sight: (sight.ahead, sight.size))
        raise NonconformityError(
            f"look_ahead = {declared} as declared: frame {worst.frame} free of audio "
            f"{declared + 1} hop(s) after its own",
            f"frame {worst.frame} changed by {worst.size:.1e} of the largest magnitude when audio "
            f"from hop {worst.hops:g} on changed: it sees {worst.ahead} frame(s) ahead",
        )
    if beyond:
        frames = sorted({sight.frame for sight in beyond})
        return Doubt(
            f"frame(s) {frames} at the start see at least {max(s.ahead for s in beyond)} frames "
            f"ahead, but nothing past hop {START}: no window of Phase 1 ends that early"
        )
    farthest = max((sight.ahead for sight in sights), default=0)
    if farthest < declared:
        return Doubt(
            f"look_ahead = {declared} is declared, but no frame saw more than {farthest} ahead; "
            "horizons up to look_ahead are called leaky"
        )
    return f"{farthest} frame(s) ahead, as declared"


def _sights(subject: EncoderSubject) -> Iterator[_Sight]:
    """Every frame that changed when audio from some sample on was replaced by noise."""
    encoder, speech, before = subject.encoder, subject.speech, subject.latents
    other = noise(speech.shape[-1], channels=encoder.channels, seed=9, level=0.7)
    segments = encoder.segments(speech.shape[-1])
    first = segments[0]
    hops = {2, 5, START + 1, first.frames // 2, first.frames - 1 - encoder.look_ahead}
    hops.add(first.frames - 1)
    for hop in sorted(hop for hop in hops if 0 < hop < first.frames):
        sample = first.start + hop * encoder.hop
        wave = speech.clone()
        wave[:, sample:] = other[:, sample:]
        (after,) = subject.encode([wave])
        sizes = change(before, after).tolist()
        row = 0
        for segment in segments:
            for frame in range(segment.frames):
                end = segment.start + (frame + 1) * encoder.hop
                ahead = (sample - end) // encoder.hop + 1 if sample >= end else 0
                if sizes[row + frame] > CHANGED:
                    within = (sample - segment.start) / encoder.hop
                    yield _Sight(frame, within, ahead, sizes[row + frame])
            row += segment.frames
