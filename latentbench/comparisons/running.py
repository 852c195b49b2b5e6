"""Makes the runs of a comparison that are not there yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from latentbench.checks import prepare
from latentbench.comparisons.comparison import Failure
from latentbench.errors import BusyError, LatentbenchError, UsageError
from latentbench.experiment import as_they_come_free, run_experiment
from latentbench.results import RunFolder
from latentbench.results.finished import FinishedRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.comparisons.combinations import Combination
    from latentbench.plugins import Registry
    from latentbench.progress import Progress
    from latentbench.workspace import Workspace

__all__ = ["run_combinations"]


def run_combinations(
    combinations: Sequence[Combination],
    out: Path,
    workspace: Workspace,
    registry: Registry,
) -> tuple[list[FinishedRun], list[Failure]]:
    """Run every combination in its folder below `out`; those that are finished are read.

    The same command given again meanwhile, here or wherever the folder is seen, takes part. All
    are checked before the first one starts. A model that one has fitted is not fitted again by
    another that needs the very same (`latentbench.fits`). One that fails later is told and named
    among the failures, and the others go on.

    Raises:
        UsageError: one is refused by the checks.
        LatentbenchError: none could be run; that of the first.
    """
    for one in combinations:
        _check(one, out, workspace, registry)
    workspace = replace(workspace, beside=tuple(out / one.folder for one in combinations))
    runs: dict[str, FinishedRun] = {}
    errors: dict[str, LatentbenchError] = {}

    def make(one: Combination, progress: Progress) -> None:
        folder = out / one.folder
        try:
            run_experiment(one.config, folder, replace(workspace, progress=progress), registry)
            runs[one.label] = FinishedRun.read(folder, one.label, one.corpus)
        except BusyError:
            raise
        except LatentbenchError as error:
            progress.say(f"{one.label} failed: {error}")
            errors[one.label] = error

    as_they_come_free(combinations, make, workspace.progress)
    if errors and not runs:
        raise next(iter(errors.values()))
    labels = [one.label for one in combinations]
    return (
        [runs[label] for label in labels if label in runs],
        [Failure(label=label, error=str(errors[label])) for label in labels if label in errors],
    )


def _check(one: Combination, out: Path, workspace: Workspace, registry: Registry) -> None:
    """Refuse a run that cannot be made; one that is finished is read, whatever its audio is now."""
    if RunFolder(out / one.folder).result_file.exists():
        return
    try:
        prepare(one.config, workspace, registry)
    except UsageError as error:
        raise UsageError(f"{one.label}: {error.message}", error.hint) from None
