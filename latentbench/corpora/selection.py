"""Which utterances of a corpus a run uses, what it leaves out and why, and both counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple

from latentbench.corpora.copies import copies

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.split import SpeakerSplit
    from latentbench.progress import Progress

__all__ = ["NEITHER", "Counts", "LeftOut", "count_utterances", "leave_out", "left_out"]

NEITHER = "neither"


class LeftOut(NamedTuple):
    """Why an utterance is not used: `dropped` by an option, or `skipped` for what it is.

    What stands before a colon in the reason is common to many.
    """

    how: Literal["dropped", "skipped"]
    reason: str


@dataclass(frozen=True)
class Counts:
    """The utterances of one side; those dropped and skipped by reason."""

    listed: int = 0
    used: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)


def leave_out(
    utterances: Sequence[Utterance], *, min_seconds: float, limit: int | None, progress: Progress
) -> dict[str, LeftOut]:
    """Id -> why, of every utterance that is not used as far as listing knows.

    Those that cannot be read, those shorter than `min_seconds`, copies of others, and those
    beyond `limit`, which takes from every speaker in turn.
    """
    out: dict[str, LeftOut] = {}
    for one in utterances:
        if one.problem or not one.seconds:
            out[one.id] = LeftOut("skipped", one.problem or "no samples")
        elif one.seconds < min_seconds:
            out[one.id] = LeftOut("dropped", f"shorter than {min_seconds:g} s")
    for copy, first in copies((one for one in utterances if one.id not in out), progress).items():
        out[copy] = LeftOut("skipped", f"a copy: the same audio as {first}")
    if limit is not None:
        left = [one for one in utterances if one.id not in out]
        beyond = LeftOut("dropped", f"beyond the limit of {limit} utterances")
        out.update(dict.fromkeys(_in_turn(left)[limit:], beyond))
    return out


def _in_turn(utterances: Sequence[Utterance]) -> list[str]:
    """Ids, one of each speaker in turn."""
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for one in utterances:
        by_speaker[one.speaker].append(one.id)
    return [id_ for turn in zip_longest(*by_speaker.values()) for id_ in turn if id_ is not None]


def count_utterances(
    utterances: Sequence[Utterance], split: SpeakerSplit, left_out: Mapping[str, LeftOut]
) -> dict[str, Counts]:
    """The counts of `train`, `eval` and, if there are such, `neither`.

    Of neither side are speakers of whom no utterance can be used.
    """
    groups: dict[str, list[Utterance]] = {"train": [], "eval": []}
    for one in utterances:
        groups.setdefault(split.side(one.speaker) or NEITHER, []).append(one)
    return {side: _count([left_out.get(one.id) for one in group]) for side, group in groups.items()}


def left_out(counts: Mapping[str, Counts]) -> Iterator[str]:
    """A line for each side of which utterances are left out: how many, and why."""
    for side, found in counts.items():
        if found.used < found.listed:
            why = ", ".join(
                f"{count:,} {how} ({reason})"
                for how, reasons in (("dropped", found.dropped), ("skipped", found.skipped))
                for reason, count in reasons.items()
            )
            name = "speakers on neither side" if side == NEITHER else side
            yield f"{name}: {found.used:,} of {found.listed:,} utterances are used; {why}"


def _count(fates: Sequence[LeftOut | None]) -> Counts:
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "skipped": Counter()}
    for fate in fates:
        if fate is not None:
            reasons[fate.how][fate.reason.partition(":")[0]] += 1
    used = sum(fate is None for fate in fates)
    return Counts(len(fates), used, dict(reasons["dropped"]), dict(reasons["skipped"]))
