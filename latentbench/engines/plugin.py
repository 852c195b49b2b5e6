"""The built-in engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ProcessesOptions", "latentbench_engines"]


@dataclass(frozen=True)
class ProcessesOptions:
    """Options of `processes`."""

    workers: Annotated[
        int, Ge(0), "processes side by side; 0: one for each GPU, else for each core"
    ] = 0
    threads: Annotated[int, Ge(0), "of each process; 0: the cores shared out"] = 0
    attempts: Annotated[
        int, Ge(1), "processes that may die over one stretch or cell before it is failed"
    ] = 3


@hookimpl
def latentbench_engines() -> Iterable[EngineSpec]:
    """The engines that ship with latentbench."""
    yield EngineSpec(
        name="local",
        summary="one thing after the other in this process",
        factory="latentbench.engines.engine:LocalEngine",
    )
    yield EngineSpec(
        name="processes",
        summary="encoding and cells side by side, in processes with their own threads or GPU",
        factory="latentbench.engines.processes:ProcessesEngine",
        options=ProcessesOptions,
    )
