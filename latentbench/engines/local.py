"""Runs cells one after the other in this process, each with all cores or the whole GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentbench.engines.engine import Engine, Outcome
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latentbench.engines.engine import Unit
    from latentbench.specs import NoOptions

__all__ = ["LocalEngine"]


class LocalEngine(Engine):
    """One cell at a time: a cell's training uses every core already."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Call `work` for every unit; a `LatentbenchError` fails that unit only."""
        for unit in units:
            yield _attempt(unit, work)


def _attempt(unit: Unit, work: Callable[[Any], None]) -> Outcome:
    try:
        work(unit)
    except LatentbenchError as error:
        return Outcome(unit, str(error))
    return Outcome(unit)
