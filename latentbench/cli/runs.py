"""`latentbench runs`: what ran in a folder, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import GivenPath, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["runs"]


@click.command(cls=Verb)
@click.argument("folder", metavar="[FOLDER]", default="runs", type=GivenPath())
@json_option
@debug_option
def runs(folder: Path, *, as_json: bool) -> None:
    """List the runs in a folder: how far each is, its headline and its size.

    FOLDER is 'runs' by default. Folders up to two below it are looked into.
    """
    show(api.runs(folder), as_json=as_json)
