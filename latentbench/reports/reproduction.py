"""A result beside the same run made again, as tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from latentbench.errors import counted
from latentbench.reports.columns import decimals_of, heading_of, shown_interval, time_text
from latentbench.reports.tables import BLANK, Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.sharing.reproduce import Drift, Reproduction

__all__ = ["reproduction_report"]

DIGITS = 7


def reproduction_report(found: Reproduction) -> Iterator[Table | Line]:
    """What drifted, then what is not the same as it was."""
    counts = Counter(one.verdict for one in found.drifts)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    yield Line(f"{counted(len(found.drifts), 'figure')} of {found.result} again: {told}", "bold")
    moved = [one for one in found.drifts if one.verdict != "the same"]
    if moved:
        yield _table(moved)
    else:
        yield Line("Every figure is the same to the bit.")
    yield Line()
    if found.differences:
        yield _differences(found)
    else:
        yield Line("Audio, weights, versions, machine and configuration are the same.")


def _table(moved: list[Drift]) -> Table:
    return Table(
        (
            column("figure", moved, lambda one: heading_of(one.figure), left=True),
            column("ms", moved, lambda one: time_text(one.ms)),
        ),
        (
            (
                column("was", moved, lambda one: f"{one.was:.{DIGITS}g}"),
                column("interval", moved, _interval),
                column("is", moved, _now),
                column("verdict", moved, lambda one: one.verdict, left=True),
            ),
        ),
    )


def _interval(one: Drift) -> str:
    return str(shown_interval(one.low, one.high, decimals_of(one.figure)))


def _now(one: Drift) -> str:
    return BLANK if one.now is None else f"{one.now:.{DIGITS}g}"


def _differences(found: Reproduction) -> Table:
    rows = list(found.differences.items())
    return Table(
        (column("not the same", rows, lambda row: row[0], left=True, fold=30),),
        (
            (
                column("was", rows, lambda row: row[1][0] or BLANK, left=True, fold=24),
                column("is", rows, lambda row: row[1][1] or BLANK, left=True, fold=24),
            ),
        ),
    )
