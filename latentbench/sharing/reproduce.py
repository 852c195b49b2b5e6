"""Running a result again, and saying what drifted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from latentbench.config import dotted
from latentbench.results.figures import Figures
from latentbench.results.schema import Number, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentbench.results.figures import FigureRow
    from latentbench.results.schema import Result

__all__ = ["Drift", "Reproduction", "Verdict", "compared"]

Verdict: TypeAlias = Literal["the same", "within its interval", "drifted", "missing"]


class Drift(Record):
    """A figure of all eval frames, as it was and as it is.

    Attributes:
        figure, k, ms, unit: which.
        was, low, high: of the result that was given, with its 95 % interval.
        now: None where it was not measured again.
        verdict: `the same` to the bit; else whether it lies within the interval. Without an
            interval any other number has `drifted`.
    """

    figure: str
    k: int
    ms: float
    unit: str
    was: Number
    low: Number | None = None
    high: Number | None = None
    now: Number | None = None
    verdict: Verdict


class Reproduction(Record):
    """A result beside the same run made again.

    Attributes:
        result: the file that was given.
        folder: of the run that was made.
        drifts: every figure of all eval frames.
        differences: circumstances that are not the same: what -> as it was, as it is.
    """

    result: str
    folder: str
    drifts: tuple[Drift, ...]
    differences: dict[str, tuple[str, str]]

    @property
    def drifted(self) -> tuple[Drift, ...]:
        """What lies outside its interval, or was not measured again."""
        return tuple(one for one in self.drifts if one.verdict in ("drifted", "missing"))


def compared(was: Result, now: Result, *, result: str, folder: str) -> Reproduction:
    """Hold a result against the same run made again.

    Args:
        was: as it was published.
        now: as it is.
        result: the file of the first.
        folder: of the second.
    """
    found = {(row.k, row.figure): row for row in Figures.of(now).where(split="eval", slice="all")}
    drifts = [
        _drift(row, found.get((row.k, row.figure)))
        for row in Figures.of(was).where(split="eval", slice="all")
    ]
    differences = {
        what: (before, after) for what, before, after in _circumstances(was, now) if before != after
    }
    return Reproduction(result=result, folder=folder, drifts=tuple(drifts), differences=differences)


def _drift(was: FigureRow, now: FigureRow | None) -> Drift:
    same = {name: getattr(was, name) for name in ("figure", "k", "ms", "unit", "low", "high")}
    return Drift(
        **same, was=was.value, now=None if now is None else now.value, verdict=_verdict(was, now)
    )


def _verdict(was: FigureRow, now: FigureRow | None) -> Verdict:
    if now is None or (was.n and not now.n):
        return "missing"
    if was.value == now.value or (math.isnan(was.value) and math.isnan(now.value)):
        return "the same"
    if was.low is not None and was.high is not None and was.low <= now.value <= was.high:
        return "within its interval"
    return "drifted"


def _circumstances(was: Result, now: Result) -> Iterator[tuple[str, str, str]]:
    """What -> as it was, as it is: whatever may move a number."""
    before, after = was.provenance, now.provenance
    yield "audio", before.digests.get("corpus", ""), after.digests.get("corpus", "")
    yield "weights", before.digests.get("weights", ""), after.digests.get("weights", "")
    yield from _of("encoder", was.encoder.fingerprint, now.encoder.fingerprint)
    yield "latentbench", before.latentbench, after.latentbench
    yield "commit", before.git_commit or "", after.git_commit or ""
    yield "Python", before.python, after.python
    yield "platform", before.platform, after.platform
    yield "device", before.device, after.device
    yield "preparation", before.preparation, after.preparation
    yield from _of("library", before.libraries, after.libraries)
    mine, theirs = (
        {key: str(value) for key, value in dotted(one.config).items()} for one in (was, now)
    )
    yield from _of("config", mine, theirs)


def _of(
    what: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    for name in sorted(before.keys() | after.keys()):
        yield f"{what} {name}", before.get(name, ""), after.get(name, "")
