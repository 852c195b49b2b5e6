"""`latentbench verify`: a finished run against the published table and its reruns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench.cli.output import Verb, console, echo, json_option
from latentbench.cli.session import RunPath, Session, debug_option
from latentbench.reports.tables import show

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
    from latentbench.results.folder import read_result  # noqa: PLC0415 - imports pydantic

    result = read_result(folder)  # a wrong name is told before torch is imported
    from latentbench.reports.verify import verify_report  # noqa: PLC0415
    from latentbench.verification.verify import verify_result  # noqa: PLC0415 - imports pydantic

    session: Session = ctx.obj
    found = verify_result(result, session.registry())
    if as_json:
        echo(found.model_dump_json(indent=2))
    else:
        show(verify_report(found), console())
    ctx.exit(0 if found.reproduced else 1)
