"""Makes the runs of a comparison that are not there yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from latentbench.checks import prepare
from latentbench.comparisons.comparison import Failure
from latentbench.errors import LatentbenchError, UsageError
from latentbench.experiment import run_experiment
from latentbench.results import RunFolder
from latentbench.results.finished import FinishedRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.comparisons.combinations import Combination
    from latentbench.plugins import Registry
    from latentbench.workspace import Workspace

__all__ = ["run_combinations"]


def run_combinations(
    combinations: Sequence[Combination],
    out: Path,
    workspace: Workspace,
    registry: Registry,
) -> tuple[list[FinishedRun], list[Failure]]:
    """Run every combination in its folder below `out`; those that are finished are read.

    All are checked before the first one starts. A model that one has fitted is not fitted again by
    another that needs the very same (`latentbench.fits`). One that fails later is told and named
    among the failures, and the others go on.

    Raises:
        UsageError: one is refused by the checks.
        LatentbenchError: none could be run; that of the first.
    """
    for one in combinations:
        _check(one, out, workspace, registry)
    workspace = replace(workspace, beside=tuple(out / one.folder for one in combinations))
    runs: list[FinishedRun] = []
    failures: list[Failure] = []
    first: LatentbenchError | None = None
    for number, one in enumerate(combinations, 1):
        workspace.progress.say(f"Run {number} of {len(combinations)}: {one.label}")
        folder = out / one.folder
        try:
            run_experiment(one.config, folder, workspace, registry)
            runs.append(FinishedRun.read(folder, one.label, one.corpus))
        except LatentbenchError as error:
            workspace.progress.say(f"{one.label} failed: {error}")
            failures.append(Failure(label=one.label, error=str(error)))
            first = first or error
    if first is not None and not runs:
        raise first
    return runs, failures


def _check(one: Combination, out: Path, workspace: Workspace, registry: Registry) -> None:
    """Refuse a run that cannot be made; one that is finished is read, whatever its audio is now."""
    if RunFolder(out / one.folder).result_file.exists():
        return
    try:
        prepare(one.config, workspace, registry)
    except UsageError as error:
        raise UsageError(f"{one.label}: {error.message}", error.hint) from None
