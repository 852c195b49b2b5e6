"""`latentbench card`: what the latents of an encoder are like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.configuration import settings_of
from latentbench.cli.output import Verb, echo, show
from latentbench.cli.session import GivenPath, Session, cache_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["card"]


@click.command(cls=Verb)
@click.argument("encoder", metavar="ENCODER")
@click.option(
    "--corpus", metavar="NAME", help="Where the audio is from [default: speech-demo, made here]."
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=GivenPath(),
    help="Values from a YAML file; names the corpus too.",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the encoder, weights=FILE, or a key, corpus.root=FOLDER; wins over all.",
)
@click.option("--limit", type=int, metavar="N", help="Use N utterances of all speakers in turn.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    metavar="FILE",
    type=GivenPath(dir_okay=False),
    help="Also write it: .html, one page, or .json, a run's as card.json in its folder.",
)
@cache_option
@click.pass_obj
def card(
    session: Session,
    /,
    out: Path | None,
    *,
    as_json: bool,
    assignments: tuple[str, ...],
    **given: Any,
) -> None:
    """Describe an encoder's latents, before anything predicts them.

    The card of ENCODER says their levels, directions and memory, and how it takes audio.
    Nothing is trained. What was encoded stays in the cache, for 'run' too.
    """
    keys = [one if "." in one.partition("=")[0] else f"encoder.{one}" for one in assignments]
    asked = settings_of(session, {**given, "assignments": keys, "preset": None})
    if given["config_file"] is None:  # nothing is a setting of its own
        del asked["config"]
    del asked["preset"]
    show(api.card(out=out, **asked), as_json=as_json)
    if out is not None:
        echo(f"Wrote {out}", err=True)
