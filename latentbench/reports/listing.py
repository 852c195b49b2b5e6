"""A list of runs as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.amounts import bytes_text
from latentbench.errors import counted
from latentbench.reports.columns import compact, decimals_of, heading_of, time_text
from latentbench.reports.tables import BLANK, LABEL, Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.results.listing import ListedRun, RunList

__all__ = ["listing_report"]


def listing_report(listed: RunList) -> Iterator[Table | Line]:
    """What the terminal shows of a folder of runs."""
    runs = listed.runs
    if not runs:
        yield Line(f"There is no run in '{listed.folder}'.")
        return
    size = bytes_text(sum(one.bytes for one in runs))
    yield Line(f"{counted(len(runs), 'run')} in {listed.folder}, {size}", "bold")
    yield Table(
        (column("run", runs, lambda one: one.run, left=True, fold=LABEL),),
        (
            (
                column("how far", runs, _how_far, left=True),
                column("headline, eval", runs, _headline, left=True),
                column("encoder", runs, lambda one: one.encoder or BLANK, left=True),
                column("predictor", runs, lambda one: one.predictor or BLANK, left=True),
                column("corpus", runs, lambda one: one.corpus or BLANK, left=True),
                column("size", runs, lambda one: bytes_text(one.bytes)),
                column("changed (UTC)", runs, lambda one: f"{one.changed:%Y-%m-%d %H:%M}"),
            ),
        ),
    )
    for one in runs:
        if one.problem:
            yield Line(f"{one.run}: {one.problem}", "yellow")


def _how_far(one: ListedRun) -> str:
    if one.status in ("finished", "unreadable"):
        return one.status
    return f"{one.status}, {one.done}/{one.cells} cells"


def _headline(one: ListedRun) -> str:
    found = one.headline
    if found is None:
        return BLANK
    if found.note:
        return found.note.split(";")[0]
    decimals = decimals_of(found.figure)
    value = f"{heading_of(found.figure)} {compact(found.value, decimals)}"
    bounds = ""
    if found.low is not None and found.high is not None:
        bounds = f" ({compact(found.low, decimals)} to {compact(found.high, decimals)})"
    return f"{value}{bounds} at {time_text(found.ms)} ms"
