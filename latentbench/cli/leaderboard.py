"""`latentbench leaderboard`: results of many as a site."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.groups import NamingGroup
from latentbench.cli.output import echo, json_option
from latentbench.cli.session import GivenPath, GivenPlace, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["leaderboard"]


@click.group(cls=NamingGroup)
def leaderboard() -> None:
    """Make a site of results, in tiers of what can be told apart."""


@leaderboard.command("build")
@click.argument("sources", metavar="FOLDER...", nargs=-1, required=True, type=GivenPlace())
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(file_okay=False),
    default="site",
    show_default=True,
    help="The folder of the site.",
)
@json_option
@debug_option
def build_leaderboard(sources: tuple[Path | str, ...], out: Path, *, as_json: bool) -> None:
    """Write the pages of every result below these folders.

    FOLDER holds runs, or what 'publish' wrote; hf://datasets/OWNER/NAME is a data set of the
    Hugging Face hub. The pages need no server, no script and no network.
    """
    page = api.leaderboard(sources, out)
    if as_json:
        echo(json.dumps({"out": str(page), "sources": list(map(str, sources))}, indent=2))
    echo(f"Wrote {page}", err=True)
