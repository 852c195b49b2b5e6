"""`latentbench report`: finished runs as one page to read, print and send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option, debug_option
from latentbench.cli.show import finished_runs

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["report"]


@click.command(cls=Verb)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())
@click.option(
    "--out",
    metavar="FILE",
    type=GivenPath(dir_okay=False),
    default="report.html",
    show_default=True,
    help="The file that is written.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Show NLL against how unusual the context is; the latents must be in the cache.",
)
@click.option(
    "--rollout",
    is_flag=True,
    help="Say until when rollouts by samples stay alive; the latents must be in the cache.",
)
@cache_option
@json_option
@debug_option
@click.pass_obj
def report(
    session: Session,
    /,
    runs: tuple[Path, ...],
    out: Path,
    cache: Path | None,
    *,
    explain: bool,
    rollout: bool,
    as_json: bool,
) -> None:
    """Write finished runs as one HTML page.

    The page holds all it shows and asks nothing of the network. RUN is the folder that was given
    to --out of 'run', or one that holds such folders; several are compared.
    """
    folders = [run for folder in runs for run in finished_runs(folder)]
    asked = {"explain": explain, "rollout": rollout}
    api.report(folders, out, **asked, cache=cache, registry=session.registry())
    if as_json:
        told = {"out": str(out), "bytes": out.stat().st_size, "runs": list(map(str, folders))}
        echo(json.dumps(told, indent=2))
    echo(f"Wrote {out}", err=True)
