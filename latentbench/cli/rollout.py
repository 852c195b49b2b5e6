"""`latentbench rollout`: how a finished run's models fare on their own frames, by depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import RunPath, Session, cache_option, debug_option
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["rollout"]


PUBLISHED = "published"
UTTERANCES = 16
# What that protocol decides itself -> what it is where nobody asked.
DECIDED = {"target": None, "utterances": UTTERANCES, "depths": (), "full": False}


class _Depths(click.ParamType):  # type: ignore[type-arg] # generic since click 8.2 only
    name = "j,j,..."

    def convert(
        self,
        value: str | tuple[int, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(sorted({int(part) for part in value.split(",")}))
        except ValueError:
            self.fail(f"'{value}' is no list of depths such as 1,2,4,8.", param, ctx)


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
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
    type=_Depths(),
    default=(),
    help="Depths to report [default: 1,2,4,8,... as deep as there are frames].",
)
@click.option("--full", is_flag=True, help="Also the autocorrelation and the energy distance.")
@click.option("--device", metavar="NAME", default="", help="auto, cpu, cuda, cuda:1.")
@cache_option
@json_option
@debug_option
@click.pass_obj
def rollout(
    session: Session,
    /,
    folder: Path,
    cache: Path | None,
    *,
    as_json: bool,
    **given: Any,
) -> None:
    """Roll the models of a finished run out again, and show the curve by depth.

    RUN is the folder that was given to --out of 'run'. Nothing is trained.
    """
    run = api.read(folder, cache=cache, registry=session.registry())
    if given["inject"] == PUBLISHED:
        _refuse_what_is_published(given)
        asked = {name: given[name] for name in ("horizons", "mode", "device")}
        show(run.injection(**asked), as_json=as_json)
    else:
        show(run.rollout(**given), as_json=as_json)


def _refuse_what_is_published(given: Mapping[str, Any]) -> None:
    if idle := [name for name, default in DECIDED.items() if given[name] != default]:
        raise UsageError(
            f"--inject {PUBLISHED} is the protocol as it was published; --{idle[0]} would change "
            "nothing.",
            "Leave it out, or take --inject never, once:N, every:N, until:N or teacher.",
        )
