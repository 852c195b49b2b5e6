"""`latentbench reproduce`: a result, run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import GivenPath, Session, cache_option, debug_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["reproduce"]


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
@json_option
@debug_option
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
    found = api.reproduce(
        result, out=out, set=assignments, cache=cache, registry=session.registry()
    )
    show(found, as_json=as_json)
    if drifted := found.record.drifted:
        names = dict.fromkeys(one.figure for one in drifted)
        raise LatentbenchError(f"Outside their intervals, or not there: {', '.join(names)}.")
