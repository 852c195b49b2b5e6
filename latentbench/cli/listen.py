"""`latentbench listen`: what a finished run predicted, as sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["listen"]


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@click.option(
    "--utterances",
    metavar="N",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many eval utterances, those that the run rolls out first.",
)
@click.option("--horizon", metavar="K", type=int, help="Staleness k [default: the smallest].")
@click.option("--seed", metavar="N", type=int, help="Of the model [default: the first].")
@click.option(
    "--prompt-seconds",
    metavar="S",
    type=click.FloatRange(min=0),
    default=3.0,
    show_default=True,
    help="True audio that a rollout hears before it goes on by itself.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="Where the WAVs and listen.json go [default: 'listen' in the run folder].",
)
@click.option("--device", metavar="NAME", default="", help="auto, cpu, cuda, cuda:1.")
@cache_option
@json_option
@debug_option
@click.pass_obj
def listen(
    session: Session,
    /,
    folder: Path,
    cache: Path | None,
    *,
    as_json: bool,
    **given: Any,
) -> None:
    """Write what a finished run predicted as sound.

    Beside it stand the original and the codec alone. RUN is the folder that was given to --out of
    'run'. The encoder must have a decoder. Nothing is trained; the audio of the run must still be
    there.
    """
    found = api.read(folder, cache=cache, registry=session.registry()).listen(**given)
    show(found, as_json=as_json)
