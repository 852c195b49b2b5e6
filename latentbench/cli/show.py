"""`latentbench show`: a finished run, printed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.export import Exports, export_options
from latentbench.cli.output import Verb, console, echo
from latentbench.cli.session import RunPath, Session, debug_option
from latentbench.errors import UsageError
from latentbench.reports import tables
from latentbench.reports.tables import Line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.plugins import Registry
    from latentbench.reports.reporter import Reporter
    from latentbench.results.schema import Result

__all__ = [
    "finished_runs",
    "make_reporter",
    "print_files",
    "print_result",
    "reporter_option",
    "show",
]


reporter_option = click.option(
    "--reporter",
    metavar="NAME",
    help="How: table (default), json, csv or a plugin's; with options, '{name: NAME, KEY: VALUE}'.",
)


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@reporter_option
@click.option("--json", "as_json", is_flag=True, help="The same as --reporter json.")
@export_options
@debug_option
@click.pass_obj
def show(
    session: Session, /, folder: Path, reporter: str | None, *, as_json: bool, **asked: Any
) -> None:
    """Show a finished run again, or all in a folder of runs.

    RUN is the folder that was given to --out of 'run', or one that holds such folders.
    """
    if as_json and reporter not in (None, "json"):
        raise click.UsageError(f"--json and --reporter {reporter} exclude each other.")
    exports = Exports(**asked)
    exports.check()
    from latentbench.results.folder import read_result  # noqa: PLC0415 - imports pydantic

    name, registry = reporter or ("json" if as_json else "table"), session.registry()
    runs = finished_runs(folder)
    if exports.exports:
        _export(runs, exports)
    if name == "json" and runs != [folder]:
        texts = (read_result(run).to_json() for run in runs)
        echo(f"[{','.join(texts)}]")
        return
    for run in runs:
        print_result(read_result(run), name, registry)
        if name == "table":
            print_files(run)
        if run != runs[-1]:
            echo()


def _export(runs: Sequence[Path], exports: Exports) -> None:
    """Write a run to files.

    Raises:
        UsageError: there are several runs, or a file cannot be written.
    """
    if len(runs) > 1:
        raise UsageError(
            f"--export writes one run, and there are {len(runs)} in the folder.",
            "Name one of them, or write them side by side with 'latentbench compare --export'.",
        )
    from latentbench.reports.run import run_page  # noqa: PLC0415 - not for --help
    from latentbench.results import Figures  # noqa: PLC0415 - imports pydantic
    from latentbench.results.folder import read_result  # noqa: PLC0415

    result = read_result(runs[0])
    whole = {"csv": lambda: Figures.of(result, runs[0].name).to_csv(), "json": result.to_json}
    exports.write(run_page(result), whole)


def finished_runs(folder: Path) -> list[Path]:
    """The runs in a folder of runs, or else the folder; those not finished are said on stderr."""
    from latentbench.results.folder import RunFolder, runs_in  # noqa: PLC0415 - imports pydantic

    runs = runs_in(folder)
    finished = [run for run in runs if RunFolder(run).result_file.exists()]
    if finished:
        for run in (run for run in runs if run not in finished):
            echo(f"Left out: '{run}' is not finished.", err=True)
    return finished or [folder]


def print_result(result: Result, reporter: str, registry: Registry) -> None:
    """Print a result on stdout through a reporter, `NAME` or `{name: NAME, KEY: VALUE}`.

    Raises:
        UsageError: there is no such reporter or option; names the nearest.
    """
    make_reporter(reporter, registry).report(result, console())


def make_reporter(reporter: str, registry: Registry) -> Reporter:
    """The reporter that `--reporter` names, with its options.

    Raises:
        UsageError: there is no such reporter or option; names the nearest.
    """
    from latentbench.config import build_options, read_component  # noqa: PLC0415 - pydantic

    chosen = read_component(reporter, "--reporter")
    options = build_options(chosen, "reporter", registry)
    made: Reporter = registry.get("reporter", chosen.name).create(options)
    return made


def print_files(folder: Path) -> None:
    """Say where the files of a run are."""
    from latentbench.results.folder import RunFolder  # noqa: PLC0415

    names = ", ".join(file.name for file in RunFolder(folder).files())
    tables.show([Line(f"Files in {folder}: {names}", "dim")], console())
