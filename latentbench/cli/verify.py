"""`latentbench verify`: a finished run against the published table and its reruns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, json_option, show
from latentbench.cli.session import RunPath, Session, debug_option

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["verify"]


@click.command(cls=Verb)
@click.argument("folder", metavar="RUN", type=RunPath())
@json_option
@debug_option
@click.pass_context
def verify(ctx: click.Context, folder: Path, *, as_json: bool) -> None:
    """Hold a finished run against the published table of Phase 1 and its reruns.

    RUN is the folder that was given to --out of 'run'. Exit code 0: every condition of Phase 1
    is met and no figure lies outside the reference runs. 1: one does, or the run cannot be
    compared.
    """
    session: Session = ctx.obj
    found = api.read(folder, registry=session.registry()).verify()
    show(found, as_json=as_json)
    ctx.exit(0 if found.record.reproduced else 1)
