"""Tables, and how each format writes them: the terminal, Markdown and LaTeX.

On the terminal whole columns are packed into as few tables as hold every number, so that none is
ever cut. This is the one module that draws: what there is to show is decided by the modules beside
it. rich lays out lines for the terminal; for the other formats a library (tabulate, pandas' Styler)
would do no more than join the cells, and escapes less than names from outside need. CSV and JSON
hold figures and records in full (`results.figures`), not what is shown of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from latentbench.errors import UsageError, nearest
from latentbench.escapes import for_latex, for_markdown, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table as Drawn

__all__ = [
    "ANY_WIDTH",
    "BLANK",
    "LABEL",
    "Column",
    "Interval",
    "Line",
    "Page",
    "Table",
    "column",
    "show",
    "to_latex",
    "to_markdown",
]

BLANK = "-"
LABEL = 28  # columns, beyond which the name of a run is folded
ANY_WIDTH = 1_000  # for texts that take the room there is, and are folded beyond
WIDE = 100  # columns, from which two spaces always part the columns of a table
R = TypeVar("R")


@dataclass(frozen=True)
class Interval:
    """Two bounds, as they are shown."""

    low: str
    high: str

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: above it.
        cells: one for each row.
        name: what `--columns` calls it; the heading where empty.
        unit: below the heading.
        left: whether cells begin in one line; otherwise they end in one.
        fold: the width beyond which cells are folded; 0: never.
        once: whether the terminal leaves out what repeats the cell above.
        beside: whether it is of the column before it, and stays in one table with it.
    """

    heading: str
    cells: tuple[str | Interval, ...]
    name: str = ""
    unit: str = ""
    left: bool = False
    fold: int = 0
    once: bool = False
    beside: bool = False

    def shown(self, row: int) -> str:
        """A cell as the terminal shows it."""
        repeats = self.once and row > 0 and self.cells[row] == self.cells[row - 1]
        return "" if repeats else str(self.cells[row])

    @property
    def titled(self) -> str:
        """The heading with its unit, on one line."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


def column(
    heading: str, rows: Iterable[R], cell: Callable[[R], str | Interval], **how: Any
) -> Column:
    """The column whose cells are `cell(row)`; `how` are the further attributes of `Column`."""
    return Column(heading, tuple(map(cell, rows)), **how)


@dataclass(frozen=True)
class Table:
    """Columns of equally many rows; a row without a word beside its keys is left out.

    Attributes:
        keys: what tells the rows apart, repeated wherever the table is split.
        groups: the other columns; those of a group stand together where there is room.
        title: above it.
        styles: of each row on the terminal; of none where empty.
        ruled: whether rows of one first key are parted from the next.
    """

    keys: tuple[Column, ...]
    groups: tuple[tuple[Column, ...], ...] = ()
    title: str = ""
    styles: tuple[str, ...] = ()
    ruled: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """All of them, in order."""
        return (*self.keys, *(one for group in self.groups for one in group))

    @property
    def rows(self) -> list[tuple[str | Interval, ...]]:
        """The cells, row by row."""
        return list(zip(*(one.cells for one in self.columns), strict=True))

    def begins(self, row: int) -> bool:
        """Whether a row is the first of its first key, where these are parted."""
        cells = self.keys[0].cells
        return self.ruled and row > 0 and cells[row] != cells[row - 1]


@dataclass(frozen=True)
class Line:
    """A line of text: a style of rich, and what follows it in styles of its own."""

    text: str = ""
    style: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """What an export holds.

    Attributes:
        title: in one line.
        tables: of it, whole.
        notes: what a reader must know beside them, by what it is.
    """

    title: str
    tables: tuple[Table, ...]
    notes: Mapping[str, Sequence[str]]

    def select(self, names: Sequence[str]) -> Page:
        """The page with these columns alone, in this order, beside the keys of each table.

        A table that has none of them is left out.

        Raises:
            UsageError: no table has such a column.
        """
        every = (_name(one) for table in self.tables for group in table.groups for one in group)
        known = list(dict.fromkeys(every))
        for name in names:
            if name not in known:
                raise UsageError(f"--columns: there is no column '{name}'.", nearest(name, known))
        chosen = (_selected(table, names) for table in self.tables)
        return replace(self, tables=tuple(table for table in chosen if table.groups[0]))


def _selected(table: Table, names: Sequence[str]) -> Table:
    there = {_name(one): one for group in table.groups for one in group}
    return replace(table, groups=(tuple(there[name] for name in names if name in there),))


def _name(one: Column) -> str:
    return one.name or one.heading


def show(parts: Iterable[Table | Line], console: Console) -> None:
    """Write lines and tables to a console of 80 columns or more."""
    from rich.text import Text  # noqa: PLC0415 - not for programs that take JSON

    for part in parts:
        if isinstance(part, Line):
            console.print(Text.assemble((part.text, part.style), *part.more))
            continue
        if part.title:
            console.print()
            console.print(Text(part.title, style="bold"))
        gap = _gap(part, console.width)
        for number, columns in enumerate(_packed(part, console.width, gap)):
            if number:
                console.print()
            console.print(_drawn(part, columns, gap))


def _gap(table: Table, width: int) -> int:
    """How many spaces part the columns: two, but one where that saves a narrow console a table."""
    one, two = (len(list(_packed(table, width, gap))) for gap in (1, 2))
    return 2 if width >= WIDE or two == one else 1


def _packed(table: Table, width: int, gap: int) -> Iterator[list[Column]]:
    """The columns of each table: whole groups where they fit, else as many columns as do."""
    room = width + gap

    def fits(columns: Iterable[Column]) -> bool:
        return sum(_width(one) + gap for one in (*table.keys, *columns)) <= room

    taken: list[Column] = []
    for group in table.groups:
        if taken and not fits((*taken, *group)):
            yield taken
            taken = []
        for few in _inseparable(group, fits):
            if taken and not fits((*taken, *few)):
                yield taken
                taken = []
            taken += few
    if taken or not table.groups:
        yield taken


def _inseparable(
    group: Sequence[Column], fits: Callable[[Iterable[Column]], bool]
) -> Iterator[list[Column]]:
    """Each column with those that stand beside it; one by one where that is too wide."""
    together: list[list[Column]] = []
    for one in group:
        if one.beside and together and fits((*together[-1], one)):
            together[-1].append(one)
        else:
            together.append([one])
    yield from together


def _width(one: Column) -> int:
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    widest = max(map(cell_len, (*_heading(one).splitlines(), *map(str, one.cells))), default=0)
    return min(widest, one.fold) if one.fold else widest


def _heading(one: Column) -> str:
    """The heading above its unit; `nats` alone are per frame, as the title of the table says."""
    unit = one.unit.replace("nats/frame", "nats")
    return f"{one.heading}\n{unit}" if unit else one.heading


def _drawn(table: Table, columns: Sequence[Column], gap: int) -> Drawn:
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table as Drawn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = (*table.keys, *columns)
    drawn = Drawn(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_header=any(one.heading for one in shown),
        padding=(0, gap - 1, 0, 0),  # the box itself parts columns by one space
        pad_edge=False,
        header_style="",
    )
    for one in shown:
        drawn.add_column(
            Text(_heading(one)),
            justify="left" if one.left else "right",
            no_wrap=not one.fold,
            overflow="fold" if one.fold else "ellipsis",
            max_width=one.fold or None,
        )
    for row in range(len(table.keys[0].cells)):
        if table.begins(row):
            drawn.add_section()
        if any(str(one.cells[row]) for one in columns or table.keys):
            cells = (Text(one.shown(row)) for one in shown)
            drawn.add_row(*cells, style=table.styles[row] if table.styles else "")
    return drawn


def to_markdown(page: Page) -> str:
    """Pipe tables, then what a reader must know, as lists."""
    lines = [for_markdown(page.title)]
    for table in page.tables:
        lines += ["", f"{for_markdown(table.title)}:"] if table.title else []
        lines += ["", _piped(one.titled for one in table.columns)]
        lines.append(f"| {' | '.join('---' if one.left else '---:' for one in table.columns)} |")
        lines += map(_piped, table.rows)
    for name, texts in page.notes.items():
        lines += ["", f"{for_markdown(name)}:", "", *(f"- {for_markdown(text)}" for text in texts)]
    return "\n".join(lines) + "\n"


def _piped(cells: Iterable[str | Interval]) -> str:
    return f"| {' | '.join(for_markdown(str(one)) for one in cells)} |"


def to_latex(page: Page, caption: str = "", label: str = "") -> str:
    """Tabulars for the package booktabs; what a reader must know stands above as comments.

    Args:
        page: what is written.
        caption: of a `table` around each tabular, in LaTeX; with neither there is none. Of
            several tables each is captioned with its title too.
        label: to refer to it; with several tables the second is `label-2`, and so on.
    """
    lines = [r"% needs \usepackage{booktabs}", _comment(page.title)]
    for name, texts in page.notes.items():
        lines += [_comment(f"{name}: {text}") for text in texts]
    for number, table in enumerate(page.tables, 1):
        lines += ["", _comment(table.title)] if table.title else []
        own = f" ({for_latex(table.title)})" if table.title and len(page.tables) > 1 else ""
        tabular = list(_tabular(table))
        if caption or label:
            tabular = list(_floating(tabular, caption and caption + own, label, number))
        lines += tabular
    return "\n".join(lines) + "\n"


def _floating(tabular: list[str], caption: str, label: str, number: int) -> Iterator[str]:
    yield from (r"\begin{table}", r"\centering")
    if caption:
        yield rf"\caption{{{caption}}}"
    if label:
        yield rf"\label{{{label if number == 1 else f'{label}-{number}'}}}"
    yield from (*tabular, r"\end{table}")


def _tabular(table: Table) -> Iterator[str]:
    sides = "".join("l" if one.left else "r" for one in table.columns)
    yield from (rf"\begin{{tabular}}{{{sides}}}", r"\toprule")
    yield _tabbed(one.titled for one in table.columns)
    yield r"\midrule"
    for number, row in enumerate(table.rows):
        if table.begins(number):
            yield r"\midrule"
        yield _tabbed(row)
    yield from (r"\bottomrule", r"\end{tabular}")


def _tabbed(cells: Iterable[str | Interval]) -> str:
    return " & ".join(map(_typeset, cells)) + r" \\"


def _typeset(cell: str | Interval) -> str:
    if isinstance(cell, Interval):
        low, high = (for_latex(bound).strip("$") for bound in (cell.low, cell.high))
        return rf"$[{low},\,{high}]$"
    return for_latex(cell)


def _comment(text: str) -> str:
    return f"% {printable(' '.join(text.split()))}"
