"""`latentbench plot`: the picture of a finished run, or of several, for a paper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import GivenPath, RunPath, debug_option
from latentbench.cli.show import finished_runs
from latentbench.errors import UsageError
from latentbench.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["plot"]

PICTURES = ("gain", "context", "split", "curves", "rollout", "life", "speakers", "pit")
SUFFIXES = (".pdf", ".svg", ".png")


@click.command(cls=Verb)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())
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
@json_option
@debug_option
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
    from latentbench.pictures.drawing import picture  # noqa: PLC0415 - a wrong suffix is told first
    from latentbench.pictures.rows import runs_to_draw  # noqa: PLC0415 - likewise

    folders = [run for folder in runs for run in finished_runs(folder)]
    drawn = picture(what, runs_to_draw(folders), out.suffix[1:], style)
    try:
        with atomic(out) as partial:
            partial.write_bytes(drawn)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}.") from None
    if as_json:
        told = {"what": what, "out": str(out), "runs": [str(one) for one in folders]}
        echo(json.dumps(told, indent=2))
    echo(f"Wrote {out}", err=True)
