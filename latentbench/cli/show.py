"""`latentbench show`: a finished run, printed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.cli.session import Session, debug_option

if TYPE_CHECKING:
    from latentbench.plugins import Registry
    from latentbench.reports.reporter import Reporter
    from latentbench.results.schema import Result

__all__ = ["make_reporter", "print_files", "print_result", "reporter_option", "show"]


reporter_option = click.option(
    "--reporter",
    metavar="NAME",
    help="How: table (default), json, csv or a plugin's; with options, '{name: NAME, KEY: VALUE}'.",
)


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@reporter_option
@click.option("--json", "as_json", is_flag=True, help="The same as --reporter json.")
@debug_option
@click.pass_obj
def show(session: Session, folder: Path, reporter: str | None, *, as_json: bool) -> None:
    """Show a finished run again.

    RUN is the folder that was given to --out of 'run'.
    """
    if as_json and reporter not in (None, "json"):
        raise click.UsageError(f"--json and --reporter {reporter} exclude each other.")
    from latentbench.results.folder import read_result  # noqa: PLC0415 - imports pydantic

    name = reporter or ("json" if as_json else "table")
    print_result(read_result(folder), name, session.registry())
    if name == "table":
        print_files(folder)


def print_result(result: Result, reporter: str, registry: Registry) -> None:
    """Print a result on stdout through a reporter, `NAME` or `{name: NAME, KEY: VALUE}`.

    Raises:
        UsageError: there is no such reporter or option; names the nearest.
    """
    from rich.console import Console  # noqa: PLC0415 - costs more than all the rest

    make_reporter(reporter, registry).report(result, Console())


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
    from rich.console import Console  # noqa: PLC0415 - costs more than all the rest
    from rich.text import Text  # noqa: PLC0415

    from latentbench.results.folder import RunFolder  # noqa: PLC0415

    names = ", ".join(file.name for file in RunFolder(folder).files())
    Console().print(Text(f"Files in {folder}: {names}", style="dim"))
