"""`explain`, `listen`, `rollout` and `verify`: what is asked of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, show
from latentbench.cli.session import GivenPath, Integers, RunPath, Session, cache_option, typed
from latentbench.config import RolloutConfig
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain", "listen", "rollout", "verify"]

PUBLISHED = "published"
UTTERANCES = RolloutConfig().utterances
DECIDED = ("target", "utterances", "depths", "full")  # by that protocol itself

run_argument = click.argument("folder", metavar="RUN", type=RunPath())
device_option = click.option(
    "--device", metavar="NAME", default="", help="auto, cpu, cuda, cuda:1, ..."
)


@click.command(cls=Verb)
@run_argument
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
@device_option
@cache_option
@click.pass_obj
def explain(
    session: Session, /, folder: Path, cache: Path | None, *, as_json: bool, **asked: Any
) -> None:
    """Say which frames make the means of a finished run, and why.

    RUN is the folder that was given to --out of 'run'. Its latents must still be in the cache.
    """
    found = api.read(folder, cache=cache, registry=session.registry).explain(**asked)
    show(found, as_json=as_json)


@click.command(cls=Verb)
@run_argument
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
@device_option
@cache_option
@click.pass_obj
def listen(
    session: Session, /, folder: Path, cache: Path | None, *, as_json: bool, **asked: Any
) -> None:
    """Write what a finished run predicted as sound.

    Beside it stand the original and the codec alone. RUN is the folder that was given to --out of
    'run'. The encoder must have a decoder. Nothing is trained; the audio of the run must still be
    there.
    """
    found = api.read(folder, cache=cache, registry=session.registry).listen(**asked)
    show(found, as_json=as_json)


@click.command(cls=Verb)
@run_argument
@click.option(
    "--horizon",
    "horizons",
    metavar="K",
    type=int,
    multiple=True,
    help="Only this staleness k of the run; repeatable.",
)
@click.option(
    "--mode",
    type=click.Choice(["mean", "sample", "component"]),
    default="mean",
    show_default=True,
    help="What the model moves by: its mean, a sample, or its most likely component.",
)
@click.option(
    "--inject",
    metavar="WHEN",
    default="never",
    show_default=True,
    help="Which true frames it is given back: never, once:N (at step N), every:N, until:N, or "
    "teacher; published: the four conditions of the published protocol, side by side.",
)
@click.option(
    "--target",
    type=click.Choice(["delta", "x"]),
    help="Add changes up, or predict frames directly [default: the run's, and x as a control].",
)
@click.option(
    "--utterances",
    metavar="N",
    type=click.IntRange(min=0),
    default=UTTERANCES,
    show_default=True,
    help=f"How many eval utterances; with {UTTERANCES}, those of the run's own rollout.",
)
@click.option(
    "--depths",
    metavar="J,J,...",
    type=Integers("depths"),
    help="Depths to report [default: 1,2,4,8,... as deep as there are frames].",
)
@click.option("--full", is_flag=True, help="Also the autocorrelation and the energy distance.")
@device_option
@cache_option
@click.pass_obj
def rollout(
    session: Session, /, folder: Path, cache: Path | None, *, as_json: bool, **given: Any
) -> None:
    """Roll the models of a finished run out again, and show the curve by depth.

    RUN is the folder that was given to --out of 'run'. Nothing is trained.
    """
    run = api.read(folder, cache=cache, registry=session.registry)
    if given["inject"] == PUBLISHED:
        if idle := typed(DECIDED):
            raise UsageError(
                f"--inject {PUBLISHED} is the protocol as it was published; {idle[0]} would change "
                "nothing.",
                "Leave it out, or take --inject never, once:N, every:N, until:N or teacher.",
            )
        asked = {name: given[name] for name in ("horizons", "mode", "device")}
        show(run.injection(**asked), as_json=as_json)
    else:
        depths = tuple(sorted(set(given["depths"] or ())))
        show(run.rollout(**given | {"depths": depths}), as_json=as_json)


@click.command(cls=Verb)
@run_argument
@click.pass_obj
def verify(session: Session, folder: Path, *, as_json: bool) -> None:
    """Hold a finished run against the published table of Phase 1 and its reruns.

    RUN is the folder that was given to --out of 'run'. Exit code 0: every condition of Phase 1
    is met and no figure lies outside the reference runs. 1: one does, or the run cannot be
    compared.
    """
    found = api.read(folder, registry=session.registry).verify()
    show(found, as_json=as_json)
    if not found.record.reproduced:
        raise click.exceptions.Exit(1)
