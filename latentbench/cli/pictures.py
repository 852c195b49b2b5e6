"""`report` and `plot`: finished runs as a page, and as pictures for a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, show_written
from latentbench.cli.session import GivenPath, RunPath, Session, cache_option
from latentbench.cli.show import finished_runs
from latentbench.errors import UsageError
from latentbench.files import atomic, require_writable, writing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["plot", "report"]

PICTURES = ("gain", "context", "split", "curves", "rollout", "life", "speakers", "pit")
SUFFIXES = (".pdf", ".svg", ".png")

runs_argument = click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())


@click.command(cls=Verb)
@runs_argument
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
    api.report(folders, out, **asked, cache=cache, registry=session.registry)
    told = {"out": str(out), "bytes": out.stat().st_size, "runs": list(map(str, folders))}
    show_written(out, told, as_json=as_json)


@click.command(cls=Verb)
@runs_argument
@click.option(
    "--what",
    type=click.Choice(PICTURES),
    default="gain",
    show_default=True,
    help="What is drawn.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=GivenPath(dir_okay=False),
    required=True,
    help="The file, by suffix: .pdf, .svg or .png.",
)
@click.option(
    "--style",
    metavar="FILE",
    default="",
    help="A style file of matplotlib, or the name of one it has; wins over ours.",
)
def plot(runs: tuple[Path, ...], what: str, out: Path, style: str, *, as_json: bool) -> None:
    """Draw finished runs for a paper.

    The picture is one column wide. RUN is the folder that was given to --out of 'run', or one that
    holds such folders; several are drawn together.
    """
    if out.suffix not in SUFFIXES:
        raise UsageError(
            f"--out {out}: the suffix '{out.suffix}' names no format.",
            f"Use one of {', '.join(SUFFIXES)}.",
        )
    require_writable(out)
    from latentbench.pictures.drawing import picture  # noqa: PLC0415 - a wrong suffix is told first
    from latentbench.pictures.rows import runs_to_draw  # noqa: PLC0415 - likewise

    folders = [run for folder in runs for run in finished_runs(folder)]
    drawn = picture(what, runs_to_draw(folders), out.suffix[1:], style)
    with writing(out), atomic(out) as partial:
        partial.write_bytes(drawn)
    told = {"what": what, "out": str(out), "runs": [str(one) for one in folders]}
    show_written(out, told, as_json=as_json)
