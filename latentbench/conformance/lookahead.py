"""Whether frames see as far ahead as their encoder declares, found by changing later audio.

Later audio is replaced by noise of the speech's level, by silence after speech, and by noise
after speech far quieter: what is normalised or floored by the loudest or the quietest part of
an utterance (as Whisper's log-mel is, 80 dB below its maximum) shows only where levels change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from latentbench.conformance.audio import noise
from latentbench.conformance.check import Doubt, NonconformityError
from latentbench.conformance.closeness import ROUNDING, change
from latentbench.encoders import WHOLE_UTTERANCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.conformance.audio import EncoderSubject

__all__ = ["look_ahead", "sees_ahead"]

# A frame that sees further only inside the first window of Phase 1 (W = 8 frames) does no harm:
# no target is that early. Padding by reflection at the start does this.
START = 8

QUIET = (1e-3, 1e-5)  # of full scale: 60 dB and 100 dB below the noise that follows


class _Sight(NamedTuple):
    """Frame `frame` saw `ahead` frames on: it changed when audio after `hops` hops did."""

    ahead: int
    size: float
    frame: int
    hops: float


def look_ahead(subject: EncoderSubject) -> str:
    """A frame depends on audio up to look_ahead frames after its own hop, and no later.

    Declared too small, leaks go unflagged; too large, sound horizons are called leaky (a doubt).
    """
    declared = subject.encoder.look_ahead
    sights = list(_sights(subject))
    beyond = [sight for sight in sights if sight.ahead > declared]
    steady = [sight for sight in beyond if sight.hops > START]
    if steady:
        worst = max(steady)
        raise NonconformityError(
            f"look_ahead = {declared} as declared: no frame that sees further",
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
    half = len(subject.latents) / 2
    if declared == WHOLE_UTTERANCE and any(not s.frame and s.hops >= half for s in sights):
        return f"frame 0 sees {farthest} frame(s) ahead: the whole utterance, as declared"
    if farthest < declared:
        return Doubt(
            f"look_ahead = {declared} is declared, but no frame saw more than {farthest} ahead; "
            "horizons up to look_ahead are called leaky"
        )
    return f"{farthest} frame(s) ahead, as declared"


def sees_ahead(subject: EncoderSubject) -> int:
    """How many frames after its own hop a frame past the start sees, as far as was probed."""
    return max((sight.ahead for sight in _sights(subject) if sight.hops > START), default=0)


def _sights(subject: EncoderSubject) -> Iterator[_Sight]:
    """Every frame that changed when audio from some sample on was replaced."""
    hop, segments = subject.encoder.hop, subject.encoder.segments(subject.samples)
    places = [(part.start, frame) for part in segments for frame in range(part.frames)]
    for hops, wave, tail in _probes(subject):
        sample = segments[0].start + hops * hop
        changed = torch.cat([wave[:, :sample], tail[:, sample:]], 1)
        before, after = subject.encode([wave])[0], subject.encode([changed])[0]
        for (start, frame), size in zip(places, change(before, after).tolist(), strict=True):
            if size > ROUNDING:
                beyond = sample - start - (frame + 1) * hop  # samples after the frame's own hop
                ahead = beyond // hop + 1 if beyond >= 0 else 0
                yield _Sight(ahead, size, frame, (sample - start) / hop)


def _probes(subject: EncoderSubject) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """A hop of the first segment, audio, and what replaces the audio from that hop on."""
    encoder, speech = subject.encoder, subject.speech
    other = noise(speech.shape[-1], channels=encoder.channels, seed=9, level=0.7)
    frames = encoder.segments(speech.shape[-1])[0].frames
    hops = {2, 5, START + 1, frames // 2, frames - 1 - encoder.look_ahead, frames - 1}
    inside = sorted(hop for hop in hops if 0 < hop < frames)
    yield from ((hop, speech, other) for hop in inside)
    for hop in (hop for hop in inside if hop in {START + 1, frames // 2}):
        yield hop, speech, 0 * speech
        yield from ((hop, level * speech, other) for level in QUIET)
