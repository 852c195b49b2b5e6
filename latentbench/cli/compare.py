"""`compare` and `factorize`: many runs of a command, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from latentbench import api
from latentbench.cli.configuration import configuration_options, run_options, settings_of
from latentbench.cli.export import Exports, export_options
from latentbench.cli.output import Verb, echo, show, show_plans
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option, typed
from latentbench.cli.show import finished_runs
from latentbench.errors import CellFailedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.answers import Comparison

__all__ = ["compare", "factorize"]

# Section -> several of them, and what one is.
COMPONENTS = {
    "encoder": ("encoders", "What makes the latents"),
    "predictor": ("predictors", "What predicts them"),
    "corpus": ("corpora", "Where the audio is from"),
    "factorization": ("factorizations", "What the latents are factored by"),
}
FORMATS = ("table", "csv", "markdown", "latex", "json")


def _component_options(command: Any) -> Any:
    for section, (_, what) in reversed(COMPONENTS.items()):
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
        if idle := typed({*given, "vary", "out", "dry_run"}):
            raise UsageError(
                f"Finished runs are compared as they are; {idle[0]} would change nothing.",
                "Leave it out, or leave out the run folders.",
            )
        folders = [run for folder in runs for run in finished_runs(folder)]
        found = api.compare(folders, match=match, strict=strict, registry=session.registry)
        _show(found, format_, asked, full=full, again="Give the command of that run again")
        return
    components = {plural: given.pop(section) for section, (plural, _) in COMPONENTS.items()}
    settings = settings_of(session, {**given, "cache": cache})
    if dry_run:
        plans = api.plan_comparison(**components, vary=vary, match=match, **settings)
        show_plans(plans, as_json=format_ == "json")
        return
    found = api.compare(**components, vary=vary, match=match, strict=strict, out=out, **settings)
    _show(found, format_, asked, full=full)


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


@click.command(cls=Verb)
@configuration_options
@click.option(
    "--vary",
    metavar="KEY=A,B,...",
    multiple=True,
    help="Values of an option, e.g. factorization.dim=4,8; several make a grid.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="Where the run folders are made [default: runs/factorize-<digest>].",
)
@cache_option
@click.option("--dry-run", is_flag=True, help="Print what each run would do, and stop.")
@click.pass_obj
def factorize(
    session: Session,
    /,
    *,
    vary: tuple[str, ...],
    out: Path | None,
    cache: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask whether the predictable state of latents is easier to model than they are.

    Principal components and random directions stand beside it. Every point of the grid is a run of
    its own, as are its controls: one that is finished is not run again. By default the protocol is
    lb1 and the factorisation is linear.
    """
    settings = settings_of(session, {**given, "cache": cache})
    if dry_run:
        show_plans(api.plan_factorization(vary=vary, **settings), as_json=as_json)
        return
    found = api.factorize(vary=vary, out=out, **settings)
    show(found, as_json=as_json)
    if failed := [one.label for one in found.record.failures]:
        raise CellFailedError(
            f"Not all points of the grid could be made: {'; '.join(failed)}.",
            "Give the same command again to run only these.",
        )
