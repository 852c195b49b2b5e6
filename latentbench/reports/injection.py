"""The published injection protocol as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.reports.columns import compact, time_text
from latentbench.reports.tables import BLANK, Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.rollout.injection import InjectedRollouts

__all__ = ["injection_report"]

LEGEND = """\
A every true frame given back, B that of steps 4, 8, 12 and 16, C that of step 1, D none
cosine: of the change made and the true one; ΔNLL: under the model's own frames, nats/frame
error: |x̂-x|, in units of the latents; all are means over the steps
published, D: Mimi .068, +40.1, 79.1; EnCodec .093, +.62, 13.9; PCA-32 .099, +40.4, 47.9"""


def injection_report(found: InjectedRollouts) -> Iterator[Table | Line]:
    """What the terminal shows of it."""
    yield Line(f"Injection into {found.predictor} on {found.encoder}, {found.corpus}", "bold")
    yield Line(
        f"{found.utterances} utterances, {found.segments} segments each, {found.steps} steps, "
        f"by {found.mode}",
        "dim",
    )
    rows = found.rows
    keys = (
        column("k", rows, lambda one: str(one.k), once=True),
        column("ms", rows, lambda one: time_text(one.milliseconds)),
        column("", rows, lambda one: one.condition, left=True),
        column("given back", rows, lambda one: one.inject, left=True),
    )
    figures = (
        column("n", rows, lambda one: str(one.n)),
        column("cosine", rows, lambda one: compact(one.cosine, 3)),
        column("ΔNLL", rows, lambda one: BLANK if found.notes else compact(one.dnll, 2)),
        column("error", rows, lambda one: compact(one.state_error, 3)),
    )
    yield Table(keys, (figures,))
    yield Line()
    yield Line(LEGEND, "dim")
    yield from map(Line, found.notes)
