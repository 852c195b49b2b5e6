"""`latentbench compare`: encoders, predictors, corpora or finished runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from latentbench import api
from latentbench.cli.configuration import run_options, settings_of
from latentbench.cli.export import Exports, export_options
from latentbench.cli.output import Verb, echo, show, show_plans
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option
from latentbench.cli.show import finished_runs
from latentbench.errors import CellFailedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.answers import Comparison

__all__ = ["compare"]

COMPONENTS = {
    "encoder": "What makes the latents",
    "predictor": "What predicts them",
    "corpus": "Where the audio is from",
    "factorization": "What the latents are factored by",
}
PLURALS = {
    "encoder": "encoders",
    "predictor": "predictors",
    "corpus": "corpora",
    "factorization": "factorizations",
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
    "--vary",
    metavar="KEY=V,V,...",
    multiple=True,
    help="A run of each value, e.g. task.context_ms=80,640; several keys: every combination.",
)
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
@click.option("--full", is_flag=True, help="Every figure, and all that differs.")
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
@export_options
@click.pass_obj
def compare(
    session: Session,
    /,
    *,
    runs: tuple[Path, ...],
    vary: tuple[str, ...],
    match: Literal["ms", "frames"],
    out: Path | None,
    cache: Path | None,
    format_: str,
    exports: tuple[Path, ...],
    columns: str,
    caption: str,
    label: str,
    full: bool,
    strict: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Put encoders, predictors, corpora or finished runs side by side.

    Give --encoder, --predictor, --corpus or --factorization several times: every combination is
    run in a folder of its own, and one that is finished is not run again. Or name finished run
    folders, or a folder of them.
    """
    format_ = "json" if as_json else format_
    if full and format_ != "table":
        raise click.UsageError("--full is of the tables; the other formats show all they have.")
    asked = Exports(exports, columns, caption, label)
    asked.check(format_)
    if runs:
        asked_for = {**given, "vary": vary, "out": out, "dry-run": dry_run}
        if idle := sorted(_set_by_user(asked_for)):
            raise UsageError(
                f"Finished runs are compared as they are; --{idle[0]} would change nothing.",
                "Leave it out, or leave out the run folders.",
            )
        folders = [run for folder in runs for run in finished_runs(folder)]
        found = api.compare(folders, match=match, strict=strict, registry=session.registry)
        _show(found, format_, asked, full=full, again="Give the command of that run again")
        return
    components = {plural: given.pop(section) for section, plural in PLURALS.items()}
    settings = settings_of(session, {**given, "cache": cache})
    if dry_run:
        plans = api.plan_comparison(**components, vary=vary, match=match, **settings)
        show_plans(plans, as_json=format_ == "json")
        return
    found = api.compare(**components, vary=vary, match=match, strict=strict, out=out, **settings)
    _show(found, format_, asked, full=full)


def _set_by_user(given: dict[str, Any]) -> list[str]:
    """The options that say what to run, as the user typed them."""
    names = {"assignments": "set", "config_file": "config", "transforms": "transform"}
    names["slices"] = "slice"
    idle = (None, (), False)
    return [names.get(name, name) for name, value in given.items() if value not in idle]


def _show(
    found: Comparison,
    format_: str,
    exports: Exports,
    *,
    full: bool,
    again: str = "Give the same command again",
) -> None:
    """Write the exports, print the comparison, then fail if anything of it did: `again` runs it.

    Raises:
        CellFailedError: a run or a horizon failed.
        UsageError: an export cannot be written.
    """
    exports.write(found)
    record = found.record
    if format_ == "table":
        show(found.in_full() if full else found)
    else:
        echo(exports.text(format_, found))
        for warning in record.warnings:
            echo(f"Warning: {warning}", err=True)
    failed = [f"{one.run}, {one.matched}" for one in record.horizons if one.result.errors]
    failed += [failure.label for failure in record.failures]
    if failed:
        raise CellFailedError(
            f"Not all that is compared could be run: {'; '.join(failed)}.",
            f"{again} to run only these.",
        )
