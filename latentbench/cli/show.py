"""`latentbench show`: a finished run, printed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.cli.session import Session, debug_option

if TYPE_CHECKING:
    from latentbench.plugins import Registry
    from latentbench.results.schema import Result

__all__ = ["print_files", "print_result", "show"]


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--reporter", metavar="NAME", help="How: table (default), json, csv or a plugin's.")
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
    """Print a result on stdout through the reporter of that name.

    Raises:
        UsageError: there is no such reporter; names the nearest.
    """
    from rich.console import Console  # noqa: PLC0415 - costs more than all the rest

    component = registry.get("reporter", reporter)
    component.create(component.spec.options()).report(result, Console())


def print_files(folder: Path) -> None:
    """Say where the files of a run are."""
    from rich.console import Console  # noqa: PLC0415 - costs more than all the rest
    from rich.text import Text  # noqa: PLC0415

    from latentbench.results.folder import RunFolder  # noqa: PLC0415

    names = ", ".join(file.name for file in RunFolder(folder).files())
    Console().print(Text(f"Files in {folder}: {names}", style="dim"))
