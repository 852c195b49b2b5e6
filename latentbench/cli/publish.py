"""`latentbench publish`: a result where others find it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import GivenPlace, RunPath, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["publish"]


@click.command(cls=Verb)
@click.argument("run", metavar="RUN", type=RunPath())
@click.option(
    "--to",
    metavar="PLACE",
    type=GivenPlace(),
    required=True,
    help="A folder, or a data set of the Hugging Face hub: hf://datasets/OWNER/NAME.",
)
@json_option
@debug_option
def publish(run: Path, to: Path | str, *, as_json: bool) -> None:
    """Put the result of a run where others find it.

    That is its result, its figures and its configuration: no weights, no latents, no audio, and of
    paths of this machine only the last name. 'leaderboard build' takes the same place.
    """
    where = api.publish(run, to)
    if as_json:
        echo(json.dumps({"run": str(run), "published": where}))
    echo(f"Wrote {where}", err=True)
