"""Leaderboards: results of one protocol and the same audio, in tiers.

The rank of a row is 1 and the number of rows that are better beyond chance, so that rows which
cannot be told apart share one. A result holds intervals and no frames, so two figures are told
apart by their intervals: where the difference is larger than the root of the sum of their squared
half widths. That is the 95 % interval of the difference of independent figures; on the same
speakers figures rise and fall together, so it tells fewer rows apart than `latentbench compare`,
which has the frames.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from latentbench.results.standing import gain_of, withheld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.results.schema import Figure, HorizonResult, Result
    from latentbench.sharing.submissions import Submission

__all__ = ["Board", "Row", "boards_of"]

FIGURE = "r2i"
ALL = "all"
NO_FIGURE = "R²_I was not measured"
ALONE = "no other row to rank against"
DIGITS = 10  # of the name of a board
CHANGES = re.compile(r", (?=[\w.]+=)")
VARIED = ("predictor", "corpus")  # keys that differ between the rows of a board


@dataclass(frozen=True)
class Row:
    """A result at one staleness.

    Attributes:
        submission: whose it is.
        horizon: of its result.
        ms: by which rows stand beside one another: what was asked for, else what k frames last.
        rank: None where it takes no part.
        reason: why it takes none.
    """

    submission: Submission
    horizon: HorizonResult
    ms: float
    rank: int | None = None
    reason: str = ""

    @property
    def figure(self) -> Figure | None:
        """What it is ranked by."""
        found = self.horizon.find("eval", ALL, FIGURE)
        return found if found is not None and found.n else None

    @property
    def gain(self) -> Figure | None:
        """In nats per frame."""
        return gain_of(self.horizon)


@dataclass(frozen=True)
class Board:
    """Rows of one protocol on the same audio.

    Attributes:
        name: hex digits, the same wherever the same protocol and audio are.
        protocol: with what all rows change of it.
        corpus: by name.
        audio: digest of the utterances and sides.
        stalenesses: milliseconds -> rows, ranked first, by R²_I.
    """

    name: str
    protocol: str
    corpus: str
    audio: str
    stalenesses: dict[float, tuple[Row, ...]]


def boards_of(submissions: Sequence[Submission]) -> list[Board]:
    """The boards of these results, by protocol and corpus."""
    groups: dict[tuple[str, str, str], list[Submission]] = {}
    for one in submissions:
        groups.setdefault(_place(one.result), []).append(one)
    return [_board(*place, own) for place, own in sorted(groups.items())]


def _place(result: Result) -> tuple[str, str, str]:
    """Protocol, corpus and audio: rows stand beside one another where all three are the same."""
    base, _, changes = result.protocol.partition(" with ")
    kept = [
        one
        for one in CHANGES.split(changes)
        if one and re.split("[.=]", one, maxsplit=1)[0] not in VARIED
    ]
    protocol = (base or "no protocol") + (f" with {', '.join(kept)}" if kept else "")
    return protocol, result.corpus.name, result.provenance.digests.get("corpus", "")


def _board(protocol: str, corpus: str, audio: str, own: Sequence[Submission]) -> Board:
    rows: dict[float, list[Row]] = {}
    for one in own:
        for row in _rows(one):
            rows.setdefault(row.ms, []).append(row)
    digest = sha256(f"{protocol}\n{corpus}\n{audio}".encode("utf-8", "surrogatepass"))
    ranked = {ms: tuple(_ranked(rows[ms])) for ms in sorted(rows)}
    return Board(digest.hexdigest()[:DIGITS], protocol, corpus, audio, ranked)


def _rows(submission: Submission) -> Iterator[Row]:
    task = submission.result.config["task"]
    asked = task.get("horizons_ms") or ()
    times = dict(zip(task.get("horizons") or (), asked, strict=False)) if asked else {}
    for horizon in submission.result.horizons:
        ms = float(times.get(horizon.k, horizon.milliseconds))
        yield Row(submission, horizon, round(ms, 1))


def _ranked(rows: Sequence[Row]) -> list[Row]:
    reasons = [_barred(row) for row in rows]
    able = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    placed = []
    for row, reason in zip(rows, reasons, strict=True):
        if reason or len(able) == 1:
            placed.append(replace(row, reason=reason or ALONE))
        else:
            placed.append(replace(row, rank=1 + sum(_beats(one, row) for one in able)))
    return sorted(placed, key=_order)


def _order(row: Row) -> tuple[float, float, str]:
    value = row.figure.value if row.figure is not None else -math.inf
    rank = math.inf if row.rank is None else row.rank
    return rank, -value if math.isfinite(value) else math.inf, row.submission.name


def _barred(row: Row) -> str:
    """Why a row takes no part; empty where it does."""
    if not row.horizon.seeds:
        return "failed"
    if reasons := withheld(row.submission.result, row.horizon):
        return reasons[0]
    found = row.figure
    if found is None or not math.isfinite(found.value):
        return NO_FIGURE
    return "" if _half(found) is not None else "there is no interval"


def _half(found: Figure) -> float | None:
    """Half the width of the interval; None where it has none that holds its value."""
    if found.low is None or found.high is None:
        return None
    sound = math.isfinite(found.high - found.low) and found.low <= found.value <= found.high
    return (found.high - found.low) / 2 if sound else None


def _beats(one: Row, other: Row) -> bool:
    ours, theirs = one.figure, other.figure
    if one is other or ours is None or theirs is None:
        return False
    return ours.value - theirs.value > math.hypot(_half(ours) or 0.0, _half(theirs) or 0.0)
