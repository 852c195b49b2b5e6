"""`latentbench factorize`: is the predictable state easier to model than the latents?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.configuration import configuration_options, settings_of
from latentbench.cli.output import Verb, show, show_plans
from latentbench.cli.session import GivenPath, Session, cache_option
from latentbench.errors import CellFailedError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["factorize"]


@click.command(cls=Verb)
@configuration_options
@click.option(
    "--vary",
    metavar="KEY=A,B,...",
    multiple=True,
    help="Values of an option, e.g. factorization.dim=4,8; several make a grid.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="Where the run folders are made [default: runs/factorize-<digest>].",
)
@cache_option
@click.option("--dry-run", is_flag=True, help="Print what each run would do, and stop.")
@click.pass_obj
def factorize(
    session: Session,
    /,
    *,
    vary: tuple[str, ...],
    out: Path | None,
    cache: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask whether the predictable state of latents is easier to model than they are.

    Principal components and random directions stand beside it. Every point of the grid is a run of
    its own, as are its controls: one that is finished is not run again. By default the protocol is
    lb1 and the factorisation is linear.
    """
    settings = settings_of(session, {**given, "cache": cache})
    if dry_run:
        show_plans(api.plan_factorization(vary=vary, **settings), as_json=as_json)
        return
    found = api.factorize(vary=vary, out=out, **settings)
    show(found, as_json=as_json)
    if failed := [one.label for one in found.record.failures]:
        raise CellFailedError(
            f"Not all points of the grid could be made: {'; '.join(failed)}.",
            "Give the same command again to run only these.",
        )
