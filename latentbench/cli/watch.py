"""`latentbench watch`: a run as it goes on, from another terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import RunPath, debug_option
from latentbench.errors import CellFailedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["watch"]


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@json_option
@debug_option
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
