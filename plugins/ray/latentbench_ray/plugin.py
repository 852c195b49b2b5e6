"""What the distribution brings to latentbench: the engine `ray`; imports no ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RayOptions", "latentbench_engines"]


@dataclass(frozen=True)
class RayOptions:
    """Options of `ray`."""

    address: Annotated[
        str, "of a cluster, e.g. 'auto' or 'ray://head:10001'; empty: one of this machine's own"
    ] = ""
    workers: Annotated[
        int, Ge(0), "units side by side on a cluster of this machine's own; 0: one for each core"
    ] = 0
    cpus: Annotated[int, Ge(1), "of each unit, and its threads"] = 1
    gpus: Annotated[float, Ge(0), "of each unit; 0.5: two share one"] = 0.0
    memory_gb: Annotated[float, Ge(0), "that each unit asks for; 0: nothing is asked"] = 0.0
    attempts: Annotated[
        int, Ge(1), "workers or nodes that may die over one unit before it is failed"
    ] = 3


@hookimpl
def latentbench_engines() -> Iterable[EngineSpec]:
    """Yield the one engine."""
    yield EngineSpec(
        name="ray",
        summary="encoding and cells as tasks of Ray, on this machine or a cluster",
        factory="latentbench_ray.engine:RayEngine",
        options=RayOptions,
    )
