"""`latentbench plugins new`: a distribution to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import GivenPath, debug_option
from latentbench.scaffold import TEMPLATE_KINDS

if TYPE_CHECKING:
    from latentbench.cli.session import Session

__all__ = ["new"]


@click.command(cls=Verb)
@click.argument("kind", type=click.Choice(TEMPLATE_KINDS))
@click.argument("name")
@click.option(
    "--out",
    type=GivenPath(file_okay=False),
    metavar="FOLDER",
    default=Path(),
    help="Where the new folder NAME is made [default: here].",
)
@json_option
@debug_option
@click.pass_obj
def new(session: Session, kind: str, name: str, out: Path, *, as_json: bool) -> None:
    """Write a complete distribution with a working component NAME of that KIND.

    It installs and passes its tests at once; then make it yours.
    """
    from latentbench.scaffold import create  # noqa: PLC0415 - not for --help

    made = create(kind, name, out, session.registry())
    if as_json:
        files = [str(file) for file in made.files]
        echo(json.dumps({"folder": str(made.folder), "files": files}, indent=2))
        return
    echo(f"Made {made.folder}:")
    for file in made.files:
        echo(f"  {file}")
    echo("Next:")
    echo(f"  python -m pip install -e {made.folder}")
    echo(f"  latentbench plugins check {name}")
    echo(f"  python -m pytest {made.folder}")
