"""The engine contract: picklable units of work in, files out; and the engine that needs nothing.

A unit is a cell, (encoder, corpus, predictor, horizon, seed), or a stretch of utterances to encode
(`latentbench.latents.stretches`). It is the unit of resume and of distribution: named by what is in
it, done again without harm, and made of plain values and paths, so that an engine may send it
anywhere that sees the same folders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from latentbench.config import RunConfig
    from latentbench.specs import NoOptions

__all__ = ["Cell", "Engine", "LocalEngine", "Outcome", "Unit", "closed"]


class Unit(Protocol):
    """What an engine may know of a unit of work."""

    @property
    def config(self) -> RunConfig:
        """The resolved configuration; its `device` says what the work computes on."""

    @property
    def folder(self) -> Path:
        """Of this unit alone; beside it an engine may keep files of its own."""


@dataclass(frozen=True)
class Cell:
    """One horizon and one seed of a run.

    Attributes:
        config: the resolved configuration.
        horizon: k, in frames.
        seed: of initialisation and sampling.
        store: the folder of the latents.
        manifest: the file that says which utterances are used, and on which side.
        folder: where the cell's files go.
        transforms: the fitted transforms, in the order they are applied.
        beside: folders of other runs, whose cells may have fitted the same models.
    """

    config: RunConfig
    horizon: int
    seed: int
    store: Path
    manifest: Path
    folder: Path
    transforms: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a unit ended: `error` is empty where its files are complete."""

    unit: Any
    error: str = ""


class Engine(ABC):
    """Does units of work; made by `factory(options)`."""

    @abstractmethod
    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Call `work` for every unit and yield each outcome as it ends.

        `work` may be pickled and sent elsewhere with a unit; here it also shows progress. All
        that can go wrong in a unit is a `LatentbenchError` from `work`: an outcome, not the end
        of the others. `KeyboardInterrupt` ends the run.
        """


class LocalEngine(Engine):
    """One unit after the other in this process: a cell's training uses every core already."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Call `work` for every unit; a `LatentbenchError` fails that unit only."""
        for unit in units:
            yield _attempted(unit, work)


def _attempted(unit: Unit, work: Callable[[Any], None]) -> Outcome:
    try:
        work(unit)
    except LatentbenchError as error:
        return Outcome(unit, str(error))
    return Outcome(unit)


@contextmanager
def closed(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    """Let an engine end what it began elsewhere, whatever ends the run here."""
    try:
        yield outcomes
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()
