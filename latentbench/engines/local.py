"""Runs cells one after the other in this process, each with all cores or the whole GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.engines.engine import Engine, Outcome
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latentbench.engines.engine import Cell
    from latentbench.specs import NoOptions

__all__ = ["LocalEngine"]


class LocalEngine(Engine):
    """One cell at a time: a cell's training uses every core already."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def run(self, cells: Sequence[Cell], work: Callable[[Cell], None]) -> Iterator[Outcome]:
        """Call `work` for every cell; a `LatentbenchError` fails that cell only."""
        for cell in cells:
            yield _attempt(cell, work)


def _attempt(cell: Cell, work: Callable[[Cell], None]) -> Outcome:
    try:
        work(cell)
    except LatentbenchError as error:
        return Outcome(cell, str(error))
    return Outcome(cell)
