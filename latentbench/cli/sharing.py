"""`publish`, `reproduce` and `leaderboard`: results that others see, or made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.groups import NamingGroup
from latentbench.cli.output import Verb, show, show_written
from latentbench.cli.session import GivenPath, GivenPlace, RunPath, Session, cache_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["leaderboard", "publish", "reproduce"]


@click.command(cls=Verb)
@click.argument("run", metavar="RUN", type=RunPath())
@click.option(
    "--to",
    metavar="PLACE",
    type=GivenPlace(),
    required=True,
    help="A folder, or a data set of the Hugging Face hub: hf://datasets/OWNER/NAME.",
)
def publish(run: Path, to: Path | str, *, as_json: bool) -> None:
    """Put the result of a run where others find it.

    That is its result, its figures and its configuration: no weights, no latents, no audio, and of
    paths of this machine only the last name. 'leaderboard build' takes the same place.
    """
    where = api.publish(run, to)
    show_written(where, {"run": str(run), "published": where}, as_json=as_json)


@click.command(cls=Verb)
@click.argument("result", metavar="RESULT.json", type=GivenPath())
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="The run folder [default: runs/reproduce-<digest>].",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key, e.g. where the corpus lies here: corpus.root=/data/LibriSpeech.",
)
@cache_option
@click.pass_obj
def reproduce(
    session: Session,
    /,
    result: Path,
    out: Path | None,
    assignments: tuple[str, ...],
    cache: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run a result again, and say what drifted.

    RESULT.json is of a run folder or of a leaderboard. Its configuration is run with what is
    installed here, each figure is held against the interval that was published, and whatever
    differs in audio, weights, versions and machine is named. Where it ran its work, a cluster as
    it may be, is not taken over.
    """
    found = api.reproduce(result, out=out, set=assignments, cache=cache, registry=session.registry)
    show(found, as_json=as_json)
    if drifted := found.record.drifted:
        names = dict.fromkeys(one.figure for one in drifted)
        raise LatentbenchError(f"Outside their intervals, or not there: {', '.join(names)}.")


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
def build_leaderboard(sources: tuple[Path | str, ...], out: Path, *, as_json: bool) -> None:
    """Write the pages of every result below these folders.

    FOLDER holds runs, or what 'publish' wrote; hf://datasets/OWNER/NAME is a data set of the
    Hugging Face hub. The pages need no server, no script and no network.
    """
    page = api.leaderboard(sources, out)
    show_written(page, {"out": str(page), "sources": list(map(str, sources))}, as_json=as_json)
