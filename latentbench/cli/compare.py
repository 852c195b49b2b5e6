"""`latentbench compare`: encoders, predictors, corpora or finished runs side by side."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from latentbench.cli.configuration import flag_layer, run_options
from latentbench.cli.export import Exports, export_options
from latentbench.cli.output import Verb, console, echo, json_option
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option, debug_option
from latentbench.cli.show import finished_runs
from latentbench.errors import CellFailedError, UsageError
from latentbench.reports.tables import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.comparisons import Comparison
    from latentbench.comparisons.combinations import Combination
    from latentbench.config import RunConfig

__all__ = ["compare"]

COMPONENTS = {
    "encoder": "What makes the latents",
    "predictor": "What predicts them",
    "corpus": "Where the audio is from",
}
FORMATS = ("table", "csv", "markdown", "latex", "json")


def _component_options(command: Any) -> Any:
    for section, what in reversed(COMPONENTS.items()):
        command = click.option(
            f"--{section}",
            metavar="[LABEL=]NAME",
            multiple=True,
            help=f"{what}; give several to compare them.",
        )(command)
    return command


@click.command(cls=Verb)
@click.argument("runs", metavar="[RUN...]", nargs=-1, type=RunPath())
@_component_options
@run_options
@click.option(
    "--match",
    type=click.Choice(["ms", "frames"]),
    default="ms",
    show_default=True,
    help="Pair horizons by time, or by frames as the original did.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="Where the run folders are made [default: runs/compare-<digest>].",
)
@cache_option
@click.option("--strict", is_flag=True, help="Refuse runs that used different utterances.")
@click.option("--dry-run", is_flag=True, help="Print what each run would do, and stop.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What is printed.",
)
@json_option
@export_options
@debug_option
@click.pass_obj
def compare(
    session: Session,
    /,
    *,
    runs: tuple[Path, ...],
    match: Literal["ms", "frames"],
    out: Path | None,
    cache: Path | None,
    format_: str,
    exports: tuple[Path, ...],
    columns: str,
    caption: str,
    label: str,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Put encoders, predictors, corpora or finished runs side by side.

    Give --encoder, --predictor or --corpus several times: every combination is run in a folder
    of its own, and one that is finished is not run again. Or name finished run folders, or a
    folder of them.
    """
    format_ = "json" if as_json else format_
    asked = Exports(exports, columns, caption, label)
    asked.check(format_)
    if runs:
        if idle := sorted({*_set_by_user(given), *(["out"] if out else [])}):
            raise UsageError(
                f"Finished runs are compared as they are; --{idle[0]} would change nothing.",
                "Leave it out, or leave out the run folders.",
            )
        from latentbench.comparisons import compare_runs  # noqa: PLC0415 - not for --help
        from latentbench.results.finished import read_runs  # noqa: PLC0415

        folders = [run for folder in runs for run in finished_runs(folder)]
        found = compare_runs(read_runs(folders), match, strict=strict, registry=session.registry())
        _show(found, format_, asked)
        return
    from latentbench.comparisons.combinations import Request, combine  # noqa: PLC0415 - not for --help

    registry = session.registry()
    combinations = combine(
        Request(
            components={section: given.pop(section) for section in COMPONENTS},
            match=match,
            settings=flag_layer(given),
            assignments=given["assignments"],
            preset=given["preset"],
            config_file=given["config_file"],
        ),
        registry,
    )
    if dry_run:
        _show_plans(combinations, session, cache, as_json=as_json)
        return
    from latentbench.comparisons import compare_runs  # noqa: PLC0415 - imports torch
    from latentbench.comparisons.running import run_combinations  # noqa: PLC0415 - imports torch

    finished, failures = run_combinations(
        combinations,
        out or _default_folder([one.config for one in combinations]),
        session.workspace(cache),
        registry,
    )
    compared = compare_runs(finished, match, failures, strict=strict, registry=registry)
    _show(compared, format_, asked)


def _set_by_user(given: dict[str, Any]) -> list[str]:
    """The options that say what to run, as the user typed them."""
    names = {"assignments": "set", "config_file": "config", "transforms": "transform"}
    names["slices"] = "slice"
    return [names.get(name, name) for name, value in given.items() if value not in (None, ())]


def _default_folder(configs: Sequence[RunConfig]) -> Path:
    """A folder that every set of configurations has of its own."""
    digests = "\n".join(config.digest() for config in configs)
    return Path("runs", f"compare-{hashlib.sha256(digests.encode()).hexdigest()[:8]}")


def _show_plans(
    combinations: Sequence[Combination], session: Session, cache: Path | None, *, as_json: bool
) -> None:
    from latentbench.planning import plan_experiment  # noqa: PLC0415 - imports torch
    from latentbench.reports.plan import plan_report  # noqa: PLC0415 - only for --dry-run

    registry, workspace = session.registry(), session.workspace(cache)
    plans = {one.label: plan_experiment(one.config, workspace, registry) for one in combinations}
    if as_json:
        echo(json.dumps({label: asdict(plan) for label, plan in plans.items()}, indent=2))
        return
    for label, plan in plans.items():
        echo(f"{label}:")
        show(plan_report(plan), console())
        echo()


def _show(comparison: Comparison, format_: str, exports: Exports) -> None:
    """Write the exports, print the comparison, then fail if anything of it did.

    Raises:
        CellFailedError: a run or a horizon failed.
        UsageError: an export cannot be written.
    """
    from latentbench.reports.comparison import comparison_page, comparison_report  # noqa: PLC0415
    from latentbench.reports.spreadsheet import comparison_csv  # noqa: PLC0415

    page = comparison_page(comparison)
    whole = {"csv": lambda: comparison_csv(comparison), "json": comparison.to_json}
    exports.write(page, whole)
    if format_ == "table":
        show(comparison_report(comparison), console())
    else:
        echo(exports.text(format_, page, whole))
        for warning in comparison.warnings:
            echo(f"Warning: {warning}", err=True)
    failed = [f"{one.run}, {one.matched}" for one in comparison.horizons if one.result.errors]
    failed += [failure.label for failure in comparison.failures]
    if failed:
        raise CellFailedError(
            f"Not all that is compared could be run: {'; '.join(failed)}.",
            "Give the same command again to run only these.",
        )
