"""`latentbench calibrate`: the whole instrument against worlds whose truth is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.session import Session, debug_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.calibration import Check

__all__ = ["calibrate", "print_checks"]

HEADINGS = ("k", "quantity", "truth", "estimate", "error", "bias", "±", "")


@click.command()
@click.option("--quick", is_flag=True, help="Under a minute, with wider intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout.")
@debug_option
@click.pass_obj
def calibrate(session: Session, /, *, quick: bool, as_json: bool) -> None:
    """Check the instrument against worlds whose truth is known.

    Runs the optimal predictor, and networks trained as in any run, on processes whose ΔNLL,
    cosine, R² and rollout gap are known exactly. Exit code 1 where an interval misses the truth
    by more than the stated bias.
    """
    from latentbench.calibration import calibrate as calibrated  # noqa: PLC0415 - imports torch
    from latentbench.cli.progress import stderr_progress  # noqa: PLC0415 - not for --help

    checks = calibrated(session.registry(), stderr_progress(), quick=quick)
    if as_json:
        click.echo(json.dumps([_record(one) for one in checks], indent=2))
    else:
        print_checks(checks)
    if missed := [one for one in checks if not one.agrees]:
        named = ", ".join(
            f"{one.world} {one.model} k={one.horizon} {one.quantity}" for one in missed
        )
        raise LatentbenchError(
            f"{len(missed)} of {len(checks)} figures miss the truth: {named}.",
            "Numbers measured by this installation are not to be trusted; please report it with "
            "the output of --json.",
        )


def print_checks(checks: Sequence[Check]) -> None:
    """A table for each world and model, and what was found over all."""
    from rich import box  # noqa: PLC0415 - costs more than all the rest
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from latentbench.calibration import CONFIDENCE  # noqa: PLC0415 - imports torch

    console = Console()
    for world, model in dict.fromkeys((one.world, one.model) for one in checks):
        console.print(Text(f"world:{world}, {MODELS[model]}", style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "quantity" else "right")
        for one in checks:
            if (one.world, one.model) == (world, model):
                table.add_row(*_row(one), style="" if one.agrees else "bold red")
        console.print(table)
        console.print()
    agreed = sum(one.agrees for one in checks)
    console.print(
        Text(
            f"{agreed} of {len(checks)} figures agree with the truth. Likelihoods are in "
            f"nats/frame; ± is the half-width of an interval over eval speakers, all of which "
            f"hold together with {CONFIDENCE:.0%}; bias is how far the estimate is expected off."
        )
    )


MODELS = {"exact": "the optimal predictor", "mdn": "a trained network"}


def _row(one: Check) -> tuple[str, ...]:
    low, high = one.bias
    bias = f"{low:.3f}" if low == high else f"{low:.3f}..{high:.3f}"
    return (
        str(one.horizon),
        one.quantity,
        f"{one.truth:.3f}",
        f"{one.estimate:.3f}",
        f"{one.error:.3f}",
        bias if one.bias != (0.0, 0.0) else "0",
        f"{one.half_width:.3f}",
        "agrees" if one.agrees else "MISSES",
    )


def _record(one: Check) -> dict[str, Any]:
    return {**asdict(one), "error": one.error, "agrees": one.agrees}
