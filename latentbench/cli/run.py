"""`latentbench run`: encode, train and score, then show the result."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.configuration import configuration_options, resolve_flags
from latentbench.cli.output import Verb, console, echo, json_option
from latentbench.cli.session import GivenPath, Session, cache_option, debug_option
from latentbench.cli.show import make_reporter, print_files, print_result, reporter_option
from latentbench.errors import CellFailedError, counted
from latentbench.reports.tables import show

if TYPE_CHECKING:
    from latentbench.config import RunConfig
    from latentbench.results.schema import Result

__all__ = ["run"]

# What Windows refuses in a file name; other systems refuse less.
REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')


@click.command(cls=Verb)
@configuration_options
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="The run folder [default: runs/<encoder>-<predictor>-<corpus>-<digest>].",
)
@cache_option
@click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
@json_option
@reporter_option
@debug_option
@click.pass_obj
def run(
    session: Session,
    /,
    out: Path | None,
    cache: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
    reporter: str | None,
    **given: Any,
) -> None:
    """Encode, train and score: one command, one result.

    Without options this is Phase 1: Mimi, LibriSpeech train-clean-100, the mixture density
    network, 25,000 steps. The same command continues a run that was interrupted.
    """
    registry = session.registry()
    config = resolve_flags(registry, given)
    if as_json and reporter not in (None, "json"):
        raise click.UsageError(f"--json and --reporter {reporter} exclude each other.")
    reporter = reporter or ("json" if as_json else "table")
    make_reporter(reporter, registry)  # a wrong one is found before anything is computed
    workspace = session.workspace(cache)
    if dry_run:
        from latentbench.planning import plan_experiment  # noqa: PLC0415 - imports torch
        from latentbench.reports.plan import plan_report  # noqa: PLC0415 - only for --dry-run

        plan = plan_experiment(config, workspace, registry)
        if as_json:
            echo(json.dumps(asdict(plan), indent=2))
        else:
            show(plan_report(plan), console())
        return
    from latentbench.experiment import run_experiment  # noqa: PLC0415 - imports torch

    folder = out or default_folder(config)
    result = run_experiment(config, folder, workspace, registry)
    _show(result, folder, session, reporter)


def default_folder(config: RunConfig) -> Path:
    """A folder that every configuration has of its own, named so that any file system takes it."""
    names = (config.encoder.name, config.predictor.name, config.corpus.name, config.digest()[:8])
    return Path("runs", REFUSED.sub("-", "-".join(names)))


def _show(result: Result, folder: Path, session: Session, reporter: str) -> None:
    """Print the result, then fail if a cell did.

    Raises:
        CellFailedError: a cell failed.
    """
    print_result(result, reporter, session.registry())
    if reporter == "table":
        print_files(folder)
    if result.failed:
        horizons = ", ".join(f"k={horizon.k}" for horizon in result.failed)
        raise CellFailedError(
            f"{len(result.failed)} of {counted(len(result.horizons), 'horizon')} failed: "
            f"{horizons}.",
            "Give the same command again to run only these.",
        )
