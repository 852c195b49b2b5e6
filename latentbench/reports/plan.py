"""The plan of a run: what `--dry-run` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.amounts import bytes_text, duration_text
from latentbench.corpora.selection import left_out
from latentbench.errors import counted
from latentbench.reports.tables import Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentbench.planning import Plan

__all__ = ["plan_report", "time_of"]


def plan_report(plan: Plan) -> Iterator[Table | Line]:
    """What the terminal shows of a plan."""
    yield Line(f"{plan.encoder} on {plan.corpus}, {plan.predictor}", "bold")
    if plan.speakers:
        yield _per_side("", {"speakers": plan.speakers, "utterances": plan.utterances})
        yield from map(Line, left_out(plan.counts))
        yield Line()
        yield _per_side("frames at", {f"k = {k}": frames for k, frames in plan.frames.items()})
        yield Line()
    yield from map(Line, (*_costs(plan), *plan.notes))


def time_of(*plans: Plan) -> str:
    """What runs take in all, in words."""
    most = "at most " if any(one.steps and one.may_end_sooner for one in plans) else ""
    return f"{most}about {duration_text(sum(one.seconds for one in plans))}"


def _per_side(heading: str, counts: Mapping[str, Mapping[str, int]]) -> Table:
    rows = list(counts.items())
    return Table(
        (
            column(heading, rows, lambda row: row[0], left=True),
            column("train", rows, lambda row: f"{row[1]['train']:,}"),
            column("eval", rows, lambda row: f"{row[1]['eval']:,}"),
        )
    )


def _costs(plan: Plan) -> Iterator[str]:
    if plan.steps:
        most = "at most " if plan.may_end_sooner else ""
        steps = f"{most}{counted(plan.steps, 'step')} each"
        each = f"{counted(plan.parameters, 'parameter')}, {steps}"
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
    yield f"{time_of(plan)} in all: {', '.join(times)}"
    yield f"disk about {bytes_text(plan.disk_bytes)}"
