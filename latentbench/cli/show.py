"""`latentbench show`: a finished run, printed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from latentbench import api
from latentbench.cli.export import Exports, export_options
from latentbench.cli.output import Verb, console, echo
from latentbench.cli.output import show as show_answer
from latentbench.cli.session import RunPath, Session
from latentbench.errors import UsageError
from latentbench.reports import tables
from latentbench.reports.tables import Line

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.answers import Result
    from latentbench.plugins import Registry
    from latentbench.reports.reporter import Reporter

__all__ = ["finished_runs", "full_option", "reporter_of", "reporter_option", "show", "show_run"]


reporter_option = click.option(
    "--reporter",
    metavar="NAME",
    help="How: table (default), json, csv or a plugin's; with options, '{name: NAME, KEY: VALUE}'.",
)


full_option = click.option(
    "--full", is_flag=True, help="Every figure: on train too, of every slice, and rollouts."
)


class _Named(NamedTuple):
    name: str
    reporter: Reporter


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@reporter_option
@full_option
@click.option("--curves", is_flag=True, help="The losses of every network, step by step.")
@export_options
@click.pass_obj
def show(
    session: Session,
    /,
    folder: Path,
    reporter: str | None,
    *,
    full: bool,
    curves: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show a finished run again, or all in a folder of runs.

    RUN is the folder that was given to --out of 'run', or one that holds such folders.
    """
    registry = session.registry
    how = reporter_of(reporter, registry, as_json=as_json, full=full)
    exports = Exports(**asked)
    exports.check()
    if curves and (full or exports.exports or how.name not in ("table", "json")):
        raise click.UsageError("--curves prints losses, as a table or with --json, and no figures.")
    runs = finished_runs(folder)
    if exports.exports and len(runs) > 1:
        raise UsageError(
            f"--export writes one run, and there are {len(runs)} in the folder.",
            "Name one of them, or write them side by side with 'latentbench compare --export'.",
        )
    results = (api.read(run, registry=registry) for run in runs)
    if how.name == "json" and runs != [folder]:
        echo(f"[{','.join(_as_json(result, exports, curves=curves) for result in results)}]")
        return
    for number, result in enumerate(results):
        if number:
            echo()
        if curves:
            show_answer(result.learning(), as_json=how.name == "json")
            continue
        exports.write(result)
        show_run(result, how)


def _as_json(result: Result, exports: Exports, *, curves: bool) -> str:
    exports.write(result)
    return result.learning().to_json() if curves else result.to_json()


def finished_runs(folder: Path) -> list[Path]:
    """The runs in a folder of runs, or else the folder; those not finished are said on stderr."""
    finished, begun = api.find_runs(folder)
    for run in begun:
        echo(f"Left out: '{run}' is not finished.", err=True)
    return finished


def reporter_of(
    reporter: str | None, registry: Registry, *, as_json: bool, full: bool = False
) -> _Named:
    """What `--reporter`, `--json` and `--full` ask for.

    Raises:
        UsageError: there is no such reporter or option; names the nearest.
    """
    if as_json and reporter not in (None, "json"):
        raise click.UsageError(f"--json and --reporter {reporter} exclude each other.")
    if full and (as_json or reporter not in (None, "table")):
        raise click.UsageError("--full is of the tables; --json and --reporter show all they have.")
    name = reporter or ("json" if as_json else "table")
    if full:
        return _Named("table", api.make_reporter("{name: table, full: true}", registry))
    return _Named(name, api.make_reporter(name, registry))


def show_run(result: Result, how: _Named) -> None:
    """Print a result on stdout, and below its tables where its files are."""
    how.reporter.report(result.record, console())
    if how.name == "table":
        names = ", ".join(file.name for file in result.files)
        tables.show([Line(f"Files in {result.folder}: {names}", "dim")], console())
