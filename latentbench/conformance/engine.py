"""The checks of engines; the contract is `latentbench.engines.Engine`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from latentbench.config import RunConfig
from latentbench.conformance.check import Kit, Subject, require
from latentbench.engines import Cell, Engine, Outcome
from latentbench.errors import LatentbenchError

__all__ = ["KIT"]

HORIZONS = (1, 2, 4)
FAILING = 2
REASON = "this cell fails on purpose"
DONE = "done"


class EngineSubject(Subject):
    """An engine, given cells whose work is to write one file."""

    contract = Engine

    def run(self, folder: Path, horizons: tuple[int, ...]) -> tuple[list[Cell], list[Outcome]]:
        """The cells, and the outcomes as the engine yields them."""
        cells = [
            Cell(RunConfig(), k, 42, folder / "store", folder / "manifest", folder / f"k{k}")
            for k in horizons
        ]
        for cell in cells:
            cell.folder.mkdir()
        return cells, list(self.make().run(cells, write_one_file))


def write_one_file(cell: Cell) -> None:
    """The work of a cell here; at module level, so that an engine can send it elsewhere.

    Raises:
        LatentbenchError: the cell is the one that fails.
    """
    if cell.horizon == FAILING:
        raise LatentbenchError(REASON)
    (cell.folder / DONE).write_text(str(cell.horizon), "utf-8")


def every_outcome(subject: EngineSubject) -> None:
    """Every cell has one outcome; a LatentbenchError fails its own cell only."""
    with tempfile.TemporaryDirectory() as folder:
        cells, outcomes = subject.run(Path(folder), HORIZONS)
        strangers = [type(one).__name__ for one in outcomes if not isinstance(one, Outcome)]
        require(not strangers, "Outcomes", f"{strangers}")
        found = sorted(one.unit.horizon for one in outcomes)
        require(found == list(HORIZONS), f"one outcome for each of {list(HORIZONS)}", f"{found}")
        errors = {one.unit.horizon: one.error for one in outcomes}
        for cell in cells:
            k, error = cell.horizon, errors[cell.horizon]
            if k == FAILING:
                require(REASON in error, f"the error '{REASON}' of cell {k}", f"{error!r}")
                continue
            require(not error, f"no error of cell {k}", f"{error!r}")
            require((cell.folder / DONE).is_file(), f"the file of cell {k}", "no file")


def no_cells(subject: EngineSubject) -> None:
    """No cells have no outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        _, outcomes = subject.run(Path(folder), ())
    require(not outcomes, "no outcomes", f"{len(outcomes)}")


KIT = Kit(EngineSubject, gates=(), checks=(every_outcome, no_cells))
