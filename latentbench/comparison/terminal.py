"""A comparison on the terminal: the runs, their figures, what can be told apart, what differs.

Columns come in groups (likelihood, the mean, rollout). As many groups as the console is wide
stand in one table, the others in tables below it: no number is ever cut. The means (frames of
context, parameters, steps) stand with the runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from latentbench.comparison.columns import by_horizon, column_groups, key_columns
from latentbench.comparison.layout import LABEL, column_gap, open_table, packed
from latentbench.comparison.remarks import difference_text, remarks, stamp_lines, title
from latentbench.comparison.verdicts import print_verdicts
from latentbench.reports.numbers import time_text
from latentbench.results.schema import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from latentbench.comparison.columns import Column
    from latentbench.comparison.schema import ComparedRun, Comparison
    from latentbench.results.schema import HorizonResult

__all__ = ["print_comparison"]

SHOWN = 3  # groups of columns; the fourth is what the table of the runs says
MATCHED = {"ms": "staleness", "frames": "k"}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Write the comparison to a console of 80 columns or more."""
    console.print(Text(title(comparison), style="bold"))
    for table in _runs(comparison, console.width):
        console.print(table)
    for line in stamp_lines(comparison):
        console.print(Text(line, style="yellow"))
    for line in comparison.warnings:
        console.print(Text(f"Warning: {line}", style="bold yellow"))
    console.print()
    console.print(Text("Eval, all frames; nats are per frame", style="bold"))
    gap, room = column_gap(console.width), _room(comparison, console.width)
    groups = column_groups(comparison)[:SHOWN]
    tables = packed(groups, lambda column: _width(comparison, column), room, gap)
    for number, columns in enumerate(tables):
        if number:
            console.print()
        console.print(_figures(comparison, columns, gap))
    print_verdicts(comparison, console)
    console.print()
    for line in remarks(comparison):
        console.print(Text(line))
    _print_differences(comparison, console)


def _runs(comparison: Comparison, width: int) -> Iterator[Table]:
    """What each run is; the look-ahead only where an encoder has one."""
    columns: dict[str, Callable[[ComparedRun], str]] = {
        "D": lambda run: _over_horizons(comparison, run, lambda found: f"{found.dim}"),
        "Hz": lambda run: f"{run.encoder.frame_rate:.5g}",
        "look-ahead": lambda run: run.encoder.sight.removesuffix(" frames"),
        "context": lambda run: f"{run.context_frames} = {time_text(run.context_ms)} ms",
        "target": lambda run: f"Δ {time_text(run.step_ms)} ms" if run.target == "delta" else "x",
        "parameters": lambda run: _over_horizons(
            comparison, run, lambda found: f"{found.parameters:,}"
        ),
        "steps": lambda run: f"{run.steps:,}",
        "seeds": lambda run: ",".join(map(str, run.seeds)) or "-",
        "utterances": lambda run: "+".join(str(run.utterances.get(one, 0)) for one in SPLITS),
    }
    if not any(run.encoder.look_ahead for run in comparison.runs):
        del columns["look-ahead"]
    cells = {name: [cell(run) for run in comparison.runs] for name, cell in columns.items()}
    widths = {name: max(map(cell_len, (name, *found))) for name, found in cells.items()}
    label = min(max(cell_len(run.label) for run in comparison.runs), LABEL)
    for names in packed([list(columns)], widths.__getitem__, width - label, 1):
        table = open_table(1)
        table.add_column("run", overflow="fold", max_width=LABEL)
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for number, run in enumerate(comparison.runs):
            table.add_row(Text(run.label), *(cells[name][number] for name in names))
        yield table


def _over_horizons(
    comparison: Comparison, run: ComparedRun, text: Callable[[HorizonResult], str]
) -> str:
    """What is the same at every horizon that is done, as a rule."""
    done = [one.result for one in comparison.horizons if one.run == run.label and one.result.seeds]
    return "/".join(dict.fromkeys(map(text, done))) or "-"


def _figures(comparison: Comparison, columns: Sequence[Column], gap: int) -> Table:
    keys = key_columns(comparison)
    table = open_table(gap)
    table.add_column(MATCHED[comparison.match], no_wrap=True)
    table.add_column("run", overflow="fold", max_width=LABEL)
    for column in (*keys[1:], *columns):
        table.add_column(Text(_heading(column)), justify="right", no_wrap=True)
    for matched, rows in by_horizon(comparison).items():
        for number, one in enumerate(rows):
            cells = [Text(column.cell(one)) for column in (*keys, *columns)]
            style = "yellow" if one.result.leaky else ""
            table.add_row(
                "" if number else matched, *cells, style=style, end_section=one is rows[-1]
            )
    return table


def _room(comparison: Comparison, width: int) -> int:
    """What the columns that tell the rows apart leave of a line."""
    gap = column_gap(width)
    run, *keys = (_width(comparison, column) for column in key_columns(comparison))
    matched = max(map(cell_len, (MATCHED[comparison.match], *by_horizon(comparison))))
    return width - matched - gap - min(run, LABEL) - sum(gap + key for key in keys)


def _print_differences(comparison: Comparison, console: Console) -> None:
    console.print()
    if not comparison.differences:
        console.print(Text("Nothing differs.", style="bold"))
    else:
        console.print(Text("What differs", style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for difference in comparison.differences:
            table.add_row(Text(difference.what), Text(difference_text(difference)))
        console.print(table)
    if comparison.same:
        console.print(Text(f"The same in all: {', '.join(comparison.same)}", style="dim"))


def _heading(column: Column) -> str:
    """The heading above its unit; `nats` alone are per frame, as the title of the table says."""
    unit = column.unit.replace("nats/frame", "nats")
    return f"{column.heading}\n{unit}" if unit else column.heading


def _width(comparison: Comparison, column: Column) -> int:
    cells = (column.cell(one) for one in comparison.horizons)
    return max(map(cell_len, (*_heading(column).splitlines(), *cells)))
