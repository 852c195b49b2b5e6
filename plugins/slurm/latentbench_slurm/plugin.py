"""What the distribution brings to latentbench: the engine `slurm`; imports no submitit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SlurmOptions", "latentbench_engines"]


@dataclass(frozen=True)
class SlurmOptions:
    """Options of `slurm`."""

    executor: Annotated[
        Literal["slurm", "local"], "'slurm': sbatch; 'local': processes of this machine, for a try"
    ] = "slurm"
    at_once: Annotated[
        int, Ge(0), "jobs that run at a time; 0: as many as Slurm lets, or one for each core here"
    ] = 0
    cpus: Annotated[int, Ge(0), "of each job, and its threads; 0: what a job is given"] = 0
    gpus: Annotated[int, Ge(0), "of each job"] = 0
    memory_gb: Annotated[float, Ge(0), "of each job; 0: what a job is given"] = 0.0
    minutes: Annotated[int, Gt(0), "that a job may take before it is queued again"] = 720
    warning_seconds: Annotated[int, Gt(0), "before that, in which a job writes its checkpoint"] = (
        120
    )
    requeues: Annotated[int, Ge(0), "times that a job may run out of its minutes"] = 100
    attempts: Annotated[int, Ge(1), "jobs that may die over one unit before it is failed"] = 3
    partition: Annotated[str, "of Slurm; empty: its default"] = ""
    account: Annotated[str, "of Slurm; empty: yours"] = ""
    qos: Annotated[str, "of Slurm; empty: its default"] = ""
    constraint: Annotated[str, "features that nodes must have, e.g. a100"] = ""


@hookimpl
def latentbench_engines() -> Iterable[EngineSpec]:
    """Yield the one engine."""
    yield EngineSpec(
        name="slurm",
        summary="encoding and cells as jobs of Slurm, queued again when they are stopped",
        factory="latentbench_slurm.engine:SlurmEngine",
        options=SlurmOptions,
    )
