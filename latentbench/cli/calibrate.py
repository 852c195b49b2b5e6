"""`latentbench calibrate`: the whole instrument against worlds whose truth is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from latentbench import api
from latentbench.cli.output import Verb, console, echo_json
from latentbench.errors import LatentbenchError
from latentbench.reports.tables import Line, Table, column, show
from latentbench.reports.words import TITLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.calibration import Check
    from latentbench.cli.session import Session

__all__ = ["calibrate"]

MODELS = {"exact": "the optimal predictor", "mdn": "a trained network"}


@click.command(cls=Verb)
@click.option("--quick", is_flag=True, help="About a minute, with wider intervals.")
@click.pass_obj
def calibrate(session: Session, /, *, quick: bool, as_json: bool) -> None:
    """Check the instrument against worlds whose truth is known.

    Runs the optimal predictor, and networks trained as in any run, on processes whose ΔNLL,
    cosine, R² and rollout gap are known exactly. Exit code 1 where an interval misses the truth
    by more than the stated bias.
    """
    checks = api.calibrate(quick=quick, registry=session.registry)
    if as_json:
        echo_json([{**asdict(one), "error": one.error, "agrees": one.agrees} for one in checks])
    else:
        show(_parts(checks), console())
    if missed := [one for one in checks if not one.agrees]:
        named = ", ".join(
            f"{one.world} {one.model} k={one.horizon} {one.quantity}" for one in missed
        )
        raise LatentbenchError(
            f"{len(missed)} of {len(checks)} figures miss the truth: {named}.",
            "Numbers measured by this installation are not to be trusted; please report it with "
            "the output of --json.",
        )


def _parts(checks: Sequence[Check]) -> Iterator[Line | Table]:
    """A line for each world and model, and a table of the figures that missed."""
    from latentbench.calibration import CONFIDENCE  # noqa: PLC0415 - imports torch

    yield from (Line(TITLE, "bold"), Line(f"- {_said(checks)}"), Line())
    for world, model in dict.fromkeys((one.world, one.model) for one in checks):
        here = [one for one in checks if (one.world, one.model) == (world, model)]
        missed = [one for one in here if not one.agrees]
        horizons = ", ".join(str(k) for k in dict.fromkeys(one.horizon for one in here))
        verdict = f"figures, {len(missed)} of them MISS" if missed else "figures agree"
        told = f"world:{world}, {MODELS[model]}, k = {horizons}: {len(here)} {verdict}"
        yield Line(told, "bold red" if missed else "")
        if missed:
            yield _table(missed)
    yield Line()
    yield Line(
        f"All intervals, over eval speakers, hold together with {CONFIDENCE:.0%}. Every figure: "
        "--json."
    )


def _said(checks: Sequence[Check]) -> str:
    missed = [one for one in checks if not one.agrees]
    worlds = len({one.world for one in checks})
    if not missed:
        return (
            f"All {len(checks)} figures, of {worlds} worlds whose answer is known, agree with the "
            "truth: this installation measures what it says."
        )
    where = ", ".join(dict.fromkeys(f"{one.world} ({one.quantity})" for one in missed))
    return (
        f"{len(missed)} of {len(checks)} figures, of {worlds} worlds whose answer is known, miss "
        f"the truth: {where}. Numbers measured by this installation are not to be trusted."
    )


def _table(missed: Sequence[Check]) -> Table:
    def bias(one: Check) -> str:
        low, high = one.bias
        if one.bias == (0.0, 0.0):
            return "0"
        return f"{low:.3f}" if low == high else f"{low:.3f}..{high:.3f}"

    return Table(
        (
            column("k", missed, lambda one: str(one.horizon)),
            column("quantity", missed, lambda one: one.quantity, left=True),
            column("truth", missed, lambda one: f"{one.truth:.3f}"),
            column("estimate", missed, lambda one: f"{one.estimate:.3f}"),
            column("error", missed, lambda one: f"{one.error:.3f}"),
            column("bias", missed, bias),
            column("±", missed, lambda one: f"{one.half_width:.3f}"),
        )
    )
