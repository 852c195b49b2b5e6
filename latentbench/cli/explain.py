"""`latentbench explain`: which frames make a run's means, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import RunPath, Session, cache_option, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain"]


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@click.option(
    "--horizon", type=int, metavar="K", help="Of the cell [default: where the tail weighs most]."
)
@click.option("--seed", type=int, metavar="N", help="Of the cell [default: likewise].")
@click.option(
    "--split", type=click.Choice(["train", "eval"]), help="Whose frames [default: likewise]."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, help="Frames to name."
)
@click.option(
    "--search",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="Train contexts among which the nearest one is looked for, evenly spaced.",
)
@click.option("--device", metavar="NAME", default="", help="auto, cpu, cuda, cuda:1, ...")
@cache_option
@json_option
@debug_option
@click.pass_obj
def explain(
    session: Session,
    /,
    folder: Path,
    cache: Path | None,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Say which frames make the means of a finished run, and why.

    RUN is the folder that was given to --out of 'run'. Its latents must still be in the cache.
    """
    found = api.read(folder, cache=cache, registry=session.registry()).explain(**asked)
    show(found, as_json=as_json)
