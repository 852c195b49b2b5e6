"""The reporters that ship with latentbench."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from latentbench.hookspecs import hookimpl
from latentbench.specs import ReporterSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TableOptions", "latentbench_reporters"]


@dataclass(frozen=True)
class TableOptions:
    """Options of the reporter `table`; `--full` sets the one."""

    full: Annotated[bool, "every figure, on train too and of every slice"] = False


@hookimpl
def latentbench_reporters() -> Iterator[ReporterSpec]:
    """For people, for programs, and for comparison with the published table."""
    yield ReporterSpec(
        name="table",
        summary="what a result says, and one table, for the terminal, from 80 columns",
        factory="latentbench.reports.run:TableReporter",
        options=TableOptions,
    )
    yield ReporterSpec(
        name="json",
        summary="the whole result as JSON, as in result.json",
        factory="latentbench.reports.run:JsonReporter",
    )
    yield ReporterSpec(
        name="csv",
        summary="one row per horizon and slice with the published columns, as in horizons.csv",
        factory="latentbench.reports.run:CsvReporter",
    )
