"""`runs` and `watch`: what ran or runs in a folder, and how far it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, echo, show
from latentbench.cli.session import GivenPath, RunPath
from latentbench.errors import CellFailedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["runs", "watch"]


@click.command(cls=Verb)
@click.argument("folder", metavar="[FOLDER]", default="runs", type=GivenPath())
def runs(folder: Path, *, as_json: bool) -> None:
    """List the runs in a folder: how far each is, its headline and its size.

    FOLDER is 'runs' by default. Folders up to two below it are looked into.
    """
    show(api.runs(folder), as_json=as_json)


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
def watch(folder: Path, *, as_json: bool) -> None:
    """Watch a run that goes on in another terminal, until it ends.

    RUN is the folder that was given to --out of 'run'; of a folder of runs the one that wrote
    last is shown. With --json every event is a line on stdout.
    """

    def told(event: dict[str, Any]) -> None:
        if as_json:
            echo(json.dumps(event))

    run = api.watch(folder, told=told, progress=not as_json)
    if run.ended == "failed":
        raise CellFailedError(f"'{run.folder}' failed: {run.error}")
    where = f"latentbench show {run.folder}"
    more = f"; '{where}' shows it" if run.ended == "finished" else ": no process works in it"
    echo(f"{run.folder} {run.ended}{more}.", err=True)
