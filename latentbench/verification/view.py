"""A verification as text for the terminal, from 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from latentbench.reports.numbers import compact

if TYPE_CHECKING:
    from rich.console import Console

    from latentbench.verification.records import Verification

__all__ = ["show_verification"]

DECIMALS = {"eval_direction_cos": 4, "eval_logmag_r2": 4}


def show_verification(found: Verification, console: Console) -> None:
    """Write the conditions, the cells beside the reference's, and the verdict."""
    console.print(Text("Conditions", style="bold"))
    for one in found.conditions:
        line = Text(
            "  matches  " if one.matches else "  DIFFERS  ", style="" if one.matches else "bold"
        )
        line.append(f"{one.name}: {one.found}", style="")
        if one.expected and not one.matches:
            line.append(f"; Phase 1: {one.expected}", style="")
        console.print(line)
    console.print()
    console.print(
        Text(f"Cells beside {len(found.runs)} reference run(s) of {found.reference}", style="bold")
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="")
    for heading in ("k", "column", "this run", "lowest", "highest", "runs", "place"):
        left = heading in {"column", "place"}
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for cell in found.cells:
        decimals = DECIMALS.get(cell.column, 2)
        table.add_row(
            str(cell.horizon),
            cell.column,
            "-" if cell.value is None else compact(cell.value, decimals, 9),
            "-" if math.isnan(cell.low) else compact(cell.low, decimals, 9),
            "-" if math.isnan(cell.high) else compact(cell.high, decimals, 9),
            str(cell.runs),
            cell.place,
        )
    console.print(table)
    console.print()
    console.print(Text(f"Reference runs: {'; '.join(found.runs)}.", style="dim"))
    console.print(Text(found.summary, style="bold"))
