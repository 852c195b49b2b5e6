"""The plan of a run, as `latentbench run --dry-run` prints it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from latentbench.cli.output import console, echo
from latentbench.cli.units import bytes_text, duration_text
from latentbench.corpora.selection import left_out
from latentbench.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from latentbench.plan import Plan

__all__ = ["show_plan"]


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the plan on stdout, as tables or as one JSON object."""
    if as_json:
        echo(json.dumps(asdict(plan), indent=2))
        return
    from rich.text import Text  # noqa: PLC0415

    out = console()
    title = f"{plan.encoder} on {plan.corpus}, {plan.predictor}"
    out.print(Text(title, style="bold"))
    if plan.speakers:
        out.print(_sizes(plan))
        for line in left_out(plan.counts):
            out.print(Text(line))
        out.print()
        out.print(_frames(plan))
        out.print()
    for line in (*_costs(plan), *plan.notes):
        out.print(Text(line))


def _sizes(plan: Plan) -> Table:
    table = _table("", "train", "eval")
    table.add_row("speakers", *(f"{plan.speakers[side]:,}" for side in ("train", "eval")))
    table.add_row("utterances", *(f"{plan.utterances[side]:,}" for side in ("train", "eval")))
    return table


def _frames(plan: Plan) -> Table:
    table = _table("frames at", "train", "eval")
    for k, frames in plan.frames.items():
        table.add_row(f"k = {k}", *(f"{frames[side]:,}" for side in ("train", "eval")))
    return table


def _costs(plan: Plan) -> Iterator[str]:
    if plan.steps:
        each = f"{counted(plan.parameters, 'parameter')}, {counted(plan.steps, 'step')} each"
        yield f"{counted(plan.networks, 'network')} of {each}"
    else:
        yield f"{counted(plan.networks, 'fit')} in closed form"
    if plan.utterances:
        of = counted(sum(plan.utterances.values()), "utterance")
        audio = duration_text(plan.audio_seconds)
        yield f"{plan.stored_utterances:,} of {of} ({audio}) encoded already"
    parts = {
        "encoding": plan.encode_seconds,
        "training": plan.train_seconds,
        "scoring": plan.score_seconds,
        "rollout": plan.rollout_seconds,
    }
    times = [f"{name} {duration_text(time)}" for name, time in parts.items() if time is not None]
    yield f"about {duration_text(plan.seconds)} in all: {', '.join(times)}"
    yield f"disk about {bytes_text(plan.disk_bytes)}"


def _table(*headings: str) -> Table:
    from rich import box  # noqa: PLC0415 - not for --json
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return table
