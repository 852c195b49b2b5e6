"""A comparison as CSV, Markdown, LaTeX and JSON.

CSV and JSON hold every figure of both splits and every slice, unrounded; Markdown and LaTeX the
tables of the terminal, for people.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, get_args

from latentbench.comparison.columns import (
    by_horizon,
    column_groups,
    flat_rows,
    headings,
    key_columns,
)
from latentbench.comparison.matching import Match
from latentbench.comparison.remarks import difference_text, remarks, stamp_lines, title
from latentbench.comparison.verdicts import (
    VERDICT_HEADING,
    against,
    verdict_notes,
    verdict_rows,
)
from latentbench.escapes import for_csv, for_latex, for_markdown, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from latentbench.comparison.columns import Column
    from latentbench.comparison.schema import Comparison

__all__ = ["EXPORTS", "to_csv", "to_json", "to_latex", "to_markdown"]

VERDICT_RULES = ["---", "---", "---", "---", "---:", "---:", "---"]
HORIZON: Mapping[Match, str] = dict(zip(get_args(Match), ("staleness", "k"), strict=True))


def to_csv(comparison: Comparison) -> str:
    """One row per horizon, run, split and slice; blank where nothing was measured."""
    rows = flat_rows(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _csv(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def to_json(comparison: Comparison) -> str:
    """All of it, by `latentbench.comparison.schema`."""
    return comparison.to_json()


def to_markdown(comparison: Comparison) -> str:
    """Pipe tables of the figures and of the verdicts, then what a reader must know, as lists."""
    heading, rows = _table(comparison)
    lines = [for_markdown(title(comparison)), ""]
    lines += [_piped(heading), _piped(["---", "---", *["---:"] * (len(heading) - 2)])]
    lines += [_piped(row) for group in rows for row in group]
    if comparison.paired:
        heading = [HORIZON[comparison.match], *VERDICT_HEADING]
        lines += ["", f"{for_markdown(against(comparison))}:", "", _piped(heading)]
        lines += [_piped(VERDICT_RULES), *map(_piped, verdict_rows(comparison))]
    for name, texts in _beside(comparison):
        lines += ["", f"{for_markdown(name)}:", "", *(f"- {for_markdown(text)}" for text in texts)]
    return "\n".join(lines) + "\n"


def to_latex(comparison: Comparison) -> str:
    """Tabulars for the package booktabs: the figures, then the verdicts.

    What a reader must know stands above as comments.
    """
    heading, rows = _table(comparison)
    lines = [r"% needs \usepackage{booktabs}", _comment(title(comparison))]
    for name, texts in _beside(comparison):
        lines += [_comment(f"{name}: {text}") for text in texts]
    lines += [rf"\begin{{tabular}}{{ll{'r' * (len(heading) - 2)}}}", r"\toprule"]
    lines.append(_tabbed(heading))
    for group in rows:
        lines += [r"\midrule", *map(_tabbed, group)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if comparison.paired:
        lines += ["", _comment(against(comparison)), r"\begin{tabular}{llllrrl}", r"\toprule"]
        lines.append(_tabbed([HORIZON[comparison.match], *VERDICT_HEADING]))
        lines += [r"\midrule", *map(_tabbed, verdict_rows(comparison))]
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


EXPORTS: Mapping[str, Callable[[Comparison], str]] = {
    "csv": to_csv,
    "markdown": to_markdown,
    "latex": to_latex,
    "json": to_json,
}


def _table(comparison: Comparison) -> tuple[list[str], list[list[list[str]]]]:
    """The headings, and the rows of each horizon."""
    columns: list[Column] = [
        *key_columns(comparison),
        *(column for group in column_groups(comparison) for column in group),
    ]
    heading = [HORIZON[comparison.match], *headings(columns)]
    return heading, [
        [[matched, *(column.cell(one) for column in columns)] for one in rows]
        for matched, rows in by_horizon(comparison).items()
    ]


def _beside(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Everything beside the table, by what it is."""
    found = {
        "Warnings": list(comparison.warnings),
        "Stamps": list(stamp_lines(comparison)),
        against(comparison): list(verdict_notes(comparison)),
        "Remarks": list(remarks(comparison)),
        "What differs": [f"{one.what}: {difference_text(one)}" for one in comparison.differences],
        "The same in all": [", ".join(comparison.same)] if comparison.same else [],
    }
    yield from ((name, texts) for name, texts in found.items() if texts)


def _csv(value: Any) -> str:
    if value is None:
        return ""
    return for_csv(value) if isinstance(value, str) else repr(value)


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(for_markdown, cells))} |"


def _tabbed(cells: Iterable[str]) -> str:
    return " & ".join(map(for_latex, cells)) + r" \\"


def _comment(text: str) -> str:
    return f"% {printable(' '.join(text.split()))}"
