"""Tables as wide as the console: columns are packed into as few of them as hold every number."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["LABEL", "column_gap", "open_table", "packed"]

LABEL = 28  # columns, beyond which the name of a run is folded
WIDE = 100  # columns, from which two spaces part the columns of a table instead of one
T = TypeVar("T")


def column_gap(width: int) -> int:
    """How many spaces part the columns on a console of that width."""
    return 2 if width >= WIDE else 1


def open_table(gap: int) -> Table:
    """A table without a frame, whose columns are `gap` spaces apart."""
    # The box itself parts columns by one space.
    padding = (0, gap - 1, 0, 0)
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=padding, pad_edge=False, header_style=""
    )


def packed(
    groups: Sequence[Sequence[T]], width_of: Callable[[T], int], room: int, gap: int
) -> Iterator[list[T]]:
    """The columns of each table: whole groups where they fit, else as many columns as do."""

    def fits(columns: Sequence[T]) -> bool:
        return sum(gap + width_of(column) for column in columns) <= room

    table: list[T] = []
    for group in groups:
        if table and not fits((*table, *group)):
            yield table
            table = []
        for column in group:
            if table and not fits((*table, column)):
                yield table
                table = []
            table.append(column)
    if table:
        yield table
