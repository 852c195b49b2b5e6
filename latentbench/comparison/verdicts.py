"""Every run against the first: which figures can be told apart, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from latentbench.comparison.layout import LABEL, column_gap, open_table, packed
from latentbench.reports.numbers import compact
from latentbench.reports.table import HEADINGS, OTHER_DECIMALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.table import Table

    from latentbench.comparison.schema import Comparison, PairedDifference, Verdict

__all__ = ["VERDICT_HEADING", "against", "print_verdicts", "verdict_notes", "verdict_rows"]

BLANK = "-"
MARKS: dict[Verdict, str] = {
    "distinguishable": "*",
    "not distinguishable": "~",
    "no interval": "?",
    "withheld": "?",
}
LEGEND = (
    "* distinguishable: the 95 % interval excludes 0; ~ not distinguishable, which does not mean "
    "equal; ? no verdict, for the reason below."
)
VERDICT_HEADING = ["run", "figure", "unit", "difference", "95 % interval", "verdict"]
MATCHED = {"ms": "staleness", "frames": "k"}
PER = "nats per"
INTERVAL = "95 % interval"
HEADLINES = ("dnll_context", "dnll")


def against(comparison: Comparison) -> str:
    """The heading: what is subtracted."""
    return f"Against {comparison.runs[0].label}"


def verdict_rows(comparison: Comparison) -> Iterator[list[str]]:
    """The label of the horizon, then the cells of `VERDICT_HEADING`."""
    for one in comparison.paired:
        yield [
            one.matched,
            one.run,
            HEADINGS.get(one.name, (one.name, 0))[0],
            one.unit or BLANK,
            _number(one, one.value),
            _interval(one),
            one.verdict,
        ]


def verdict_notes(comparison: Comparison) -> Iterator[str]:
    """What a reader of the verdicts must know, a sentence each."""
    reference = comparison.runs[0].label
    speakers = sorted({one.speakers for one in comparison.paired if one.speakers and one.paired})
    apart = dict.fromkeys(one.run for one in comparison.paired if not one.paired)
    if apart:
        yield (
            f"{', '.join(apart)}: no eval speaker in common with {reference}, so a difference is "
            "between two samples of speakers, less sure than one of pairs, and one of the audio "
            "as well."
        )
    if speakers:
        counts = "/".join(map(str, speakers))
        yield (
            f"Differences are this run minus {reference}, paired over the {counts} eval speakers "
            "both have. Intervals are over speakers, the trained models being these; of many "
            "differences, one in twenty excludes 0 by chance."
        )
    scaled = dict.fromkeys(one.run for one in comparison.paired if one.unit == "nats/dim")
    if scaled:
        yield (
            f"{', '.join(scaled)}: not the latents of {reference}, so nats are per dimension: "
            "a nat per frame of one is not comparable with a nat per frame of the other, and "
            "cosine and R² depend on the scale of the latents."
        )
    reasons: dict[tuple[str, str], list[PairedDifference]] = {}
    for one in comparison.paired:
        if one.reason:
            reasons.setdefault((one.verdict, one.reason), []).append(one)
    for (verdict, reason), found in reasons.items():
        yield f"{_places(comparison, found)}: {verdict}, {reason}"


def print_verdicts(comparison: Comparison, console: Console) -> None:
    """Write the table, a row per horizon and run; nothing where there is one run only."""
    if not comparison.paired:
        return
    gap = column_gap(console.width)
    console.print()
    mixed = _is_mixed(comparison)
    unit = "" if mixed else "; nats are per frame"
    console.print(Text(f"{against(comparison)}, eval, all frames{unit}", style="bold"))
    names = list(dict.fromkeys(one.name for one in comparison.paired))
    groups = [[name, f"{name} {INTERVAL}"] if _has_interval(name) else [name] for name in names]
    keys = [_widest([MATCHED[comparison.match], *(one.matched for one in comparison.paired)])]
    keys.append(min(_widest([one.run for one in comparison.paired]), LABEL))
    keys.extend([cell_len(PER)] if mixed else [])
    room = console.width - sum(keys) - (len(keys) - 1) * gap

    def width_of(column: str) -> int:
        return _widest([_heading(column), *(_cell(rows, column) for rows in _rows(comparison))])

    for number, columns in enumerate(packed(groups, width_of, room, gap)):
        if number:
            console.print()
        console.print(_table(comparison, columns, gap))
    console.print()
    console.print(Text(LEGEND))
    for line in verdict_notes(comparison):
        console.print(Text(line))


def _table(comparison: Comparison, columns: Sequence[str], gap: int) -> Table:
    table = open_table(gap)
    table.add_column(MATCHED[comparison.match], no_wrap=True)
    table.add_column("run", overflow="fold", max_width=LABEL)
    mixed = _is_mixed(comparison)
    if mixed:
        table.add_column(PER, no_wrap=True)
    for column in columns:
        table.add_column(Text(_heading(column)), justify="right", no_wrap=True)
    before = ""
    for row in _rows(comparison):
        matched, run = row[0].matched, row[0].run
        unit = next((one.unit.removeprefix("nats/") for one in row if one.unit), BLANK)
        cells = [unit] if mixed else []
        cells += [_cell(row, column) for column in columns]
        table.add_row("" if matched == before else matched, Text(run), *map(Text, cells))
        before = matched
    return table


def _has_interval(name: str) -> bool:
    """The headline has its interval beside it, and so has what no table has columns for."""
    return name in HEADLINES or name not in HEADINGS


def _is_mixed(comparison: Comparison) -> bool:
    """Whether any nats are not per frame."""
    return any(one.unit == "nats/dim" for one in comparison.paired)


def _rows(comparison: Comparison) -> list[list[PairedDifference]]:
    """The differences of each horizon and run."""
    found: dict[tuple[str, str], list[PairedDifference]] = {}
    for one in comparison.paired:
        found.setdefault((one.matched, one.run), []).append(one)
    return list(found.values())


def _cell(row: Sequence[PairedDifference], column: str) -> str:
    name = column.removesuffix(f" {INTERVAL}")
    one = next((found for found in row if found.name == name), None)
    if one is None:
        return BLANK
    if column != name:
        return _interval(one)
    return f"{_number(one, one.value)} {MARKS[one.verdict]}"


def _heading(column: str) -> str:
    name = column.removesuffix(f" {INTERVAL}")
    return INTERVAL if column != name else HEADINGS.get(name, (name, 0))[0]


def _number(one: PairedDifference, value: float | None) -> str:
    if value is None:
        return BLANK
    decimals = HEADINGS.get(one.name, (one.name, OTHER_DECIMALS))[1]
    return compact(value, OTHER_DECIMALS if one.unit == "nats/dim" else decimals)


def _interval(one: PairedDifference) -> str:
    if one.low is None or one.high is None:
        return BLANK
    return f"{_number(one, one.low)} to {_number(one, one.high)}"


def _places(comparison: Comparison, found: Sequence[PairedDifference]) -> str:
    """`dac, 80 ms and 160 ms`; the figures too where they are not all of those rows."""
    runs = ", ".join(dict.fromkeys(one.run for one in found))
    rows = dict.fromkeys((one.matched, one.run) for one in found)
    horizons = ", ".join(dict.fromkeys(matched for matched, _ in rows))
    whole = sum((one.matched, one.run) in rows for one in comparison.paired)
    if len(found) == whole:
        return f"{runs}, {horizons}"
    figures = ", ".join(dict.fromkeys(HEADINGS.get(one.name, (one.name, 0))[0] for one in found))
    return f"{runs}, {horizons}, {figures}"


def _widest(cells: Sequence[str]) -> int:
    return max(map(cell_len, cells))
