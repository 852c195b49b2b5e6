"""The engine contract: picklable cells in, files out.

A cell is (encoder, corpus, predictor, horizon, seed): the unit of work, of resume and of
distribution. It holds only plain values and paths, so an engine may send it anywhere that
sees the same folders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from latentbench.config import RunConfig

__all__ = ["Cell", "Engine", "Outcome"]


@dataclass(frozen=True)
class Cell:
    """One horizon and one seed of a run.

    Attributes:
        config: the resolved configuration.
        horizon: k, in frames.
        seed: of initialisation and sampling.
        store: the folder of the latents.
        manifest: the file that says which utterances are used, and on which side.
        transforms: the fitted transforms, in the order they are applied.
        folder: where the cell's files go.
    """

    config: RunConfig
    horizon: int
    seed: int
    store: Path
    manifest: Path
    folder: Path
    transforms: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: `error` is empty where its files are complete."""

    cell: Cell
    error: str = ""


class Engine(ABC):
    """Runs cells; made by `factory(options)`."""

    @abstractmethod
    def run(self, cells: Sequence[Cell], work: Callable[[Cell], None]) -> Iterator[Outcome]:
        """Call `work` for every cell and yield each outcome as it ends.

        `work` may be pickled and sent elsewhere with a cell; here it also shows progress. All
        that can go wrong in a cell is a `LatentbenchError` from `work`: an outcome, not the end
        of the others. `KeyboardInterrupt` ends the run.
        """
