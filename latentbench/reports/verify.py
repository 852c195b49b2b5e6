"""A run beside the reference runs of Phase 1: the conditions, the cells and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.errors import counted
from latentbench.reports.columns import compact
from latentbench.reports.tables import BLANK, Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.verification.conditions import Condition
    from latentbench.verification.verify import ReferenceCell, Verification

__all__ = ["verify_report"]

DECIMALS = {"eval_direction_cos": 4, "eval_logmag_r2": 4}
WIDTH = 9  # of numbers: some of the reference's are large


def verify_report(found: Verification) -> Iterator[Table | Line]:
    """What the terminal shows of a verification."""
    yield Line("Conditions", "bold")
    yield from map(_condition, found.conditions)
    yield _cells(found)
    yield Line()
    yield Line(f"Reference runs: {'; '.join(found.runs)}.", "dim")
    yield Line(found.summary, "bold")


def _condition(one: Condition) -> Line:
    wanted = f"; Phase 1: {one.expected}" if one.expected and not one.matches else ""
    mark, style = ("  matches  ", "") if one.matches else ("  DIFFERS  ", "bold")
    return Line(mark, style, ((f"{one.name}: {one.found}{wanted}", ""),))


def _cells(found: Verification) -> Table:
    def number(cell: ReferenceCell, value: float | None) -> str:
        return BLANK if value is None else compact(value, DECIMALS.get(cell.column, 2), WIDTH)

    cells = found.cells
    keys = (
        column("k", cells, lambda one: str(one.horizon)),
        column("column", cells, lambda one: one.column, left=True),
        column("this run", cells, lambda one: number(one, one.value)),
        column("lowest", cells, lambda one: number(one, one.low)),
        column("highest", cells, lambda one: number(one, one.high)),
        column("runs", cells, lambda one: str(one.runs)),
        column("place", cells, lambda one: one.place, left=True),
    )
    title = f"Cells beside {counted(len(found.runs), 'reference run')} of {found.reference}"
    return Table(keys, title=title)
