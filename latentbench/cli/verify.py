"""`latentbench verify`: a finished run against the published table and its reruns."""

from __future__ import annotations

from pathlib import Path

import click

from latentbench.cli.session import Session, debug_option

__all__ = ["verify"]


@click.command()
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")
@debug_option
@click.pass_context
def verify(ctx: click.Context, folder: Path, *, as_json: bool) -> None:
    """Hold a finished run against the published table of Phase 1 and its reruns.

    RUN is the folder that was given to --out of 'run'. Exit code 0: every condition of Phase 1
    is met and no figure lies outside the reference runs. 1: one does, or the run cannot be
    compared.
    """
    from rich.console import Console  # noqa: PLC0415 - not for --help

    from latentbench.results.folder import read_result  # noqa: PLC0415 - imports pydantic
    from latentbench.verification.verify import verify_result  # noqa: PLC0415 - imports pydantic
    from latentbench.verification.view import show_verification  # noqa: PLC0415 - imports rich

    session: Session = ctx.obj
    found = verify_result(read_result(folder), session.registry())
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        show_verification(found, Console())
    ctx.exit(0 if found.reproduced else 1)
