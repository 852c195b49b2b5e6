"""Rollout curves as tables for the terminal, one per horizon and target.

A row is a depth. From 100 columns the likelihoods and the states stand side by side, below that
in two tables, so that no number is ever cut.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from latentbench.errors import counted
from latentbench.reports.numbers import compact, time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from latentbench.results.rollout_curves import CurvePoint, RolloutCurve, RolloutCurves

    Columns = Sequence[tuple[str, Callable[[CurvePoint], str]]]

__all__ = ["show_rollout"]

BLANK = "-"
WIDE = 100
MODES = {
    "mean": "the mean",
    "sample": "samples",
    "component": "the mean of the most likely component",
}
INJECTED = {
    "never": "no true frame given back",
    "teacher": "every true frame given back",
}
LEGEND = """\
target Δ: changes are added up; x: frames are predicted one by one
depth j: the newest frame of the context is the j-th that the model made
NLL, gap: nats/frame, median under true contexts, and what the model's own add
error: |x̂-x| over √tr Σ, 1.41 for an unrelated frame
cosine, size: of the change made against the true one
variance: of the rolled state over the true one"""


def show_rollout(found: RolloutCurves, console: Console) -> None:
    """Write all curves to the console, which has 80 columns or more."""
    title = Text(f"Rollout of {found.predictor} on {found.encoder}, {found.corpus}", style="bold")
    for stamp in found.stamps:
        title.append(f" [{stamp}]", style="bold yellow")
    console.print(title)
    console.print(Text(f"by {MODES[found.mode]}, {_injected(found.inject)}", style="dim"))
    for curve in found.curves:
        console.print()
        console.print(Text(_heading(curve), style="bold"))
        comparable = found.mode == "sample" and found.inject == "never"
        for columns in _tables(curve, console.width, perfect=comparable):
            console.print(_table(curve, columns))
        for line in _remarks(curve, found):
            console.print(Text(line))
    console.print()
    console.print(Text(LEGEND, style="dim"))
    if any(curve.perfect_inflation is not None for curve in found.curves):
        frames = counted(found.train_frames, "frame")
        text = f"perfect: the variance of {found.perfect_model} ({frames})"
        console.print(Text(text, style="dim"))
    for note in found.notes:
        console.print(Text(note))


def _injected(inject: str) -> str:
    kind, _, steps = inject.partition(":")
    if kind == "once":
        return f"the true frame given back once, at step {steps}"
    if kind == "every":
        return f"a true frame given back at every step that {steps} divides"
    return INJECTED[kind]


def _heading(curve: RolloutCurve) -> str:
    target = "Δ" if curve.target == "delta" else "x"
    deepest = "" if curve.deepest is None else f", depths to {curve.deepest}"
    return (
        f"k = {curve.k} ({time_text(curve.milliseconds)} ms), target {target}: "
        f"{curve.utterances} utterances, {curve.n} frames{deepest}"
    )


def _tables(curve: RolloutCurve, width: int, *, perfect: bool) -> Iterator[Columns]:
    keys: Columns = [("depth", lambda one: str(one.depth)), ("n", lambda one: str(one.n))]
    likelihoods: Columns = [
        ("NLL", _number(lambda one: one.nll_teacher, 2)),
        ("gap median", _number(lambda one: one.gap_median, 2)),
        ("gap mean", _number(lambda one: one.gap_mean, 2)),
        ("non-finite", lambda one: str(one.non_finite) if one.n else BLANK),
    ]
    states: Columns = [
        ("error", _number(lambda one: one.state_error, 3)),
        ("cosine", _number(lambda one: one.cosine, 3)),
        ("size", _number(lambda one: one.magnitude_ratio, 3)),
        ("variance", _number(lambda one: one.variance_ratio, 2)),
    ]
    if perfect and curve.perfect_inflation is not None:
        states = [*states, ("perfect", _number(lambda one: one.perfect_variance_ratio, 2))]
    if width >= WIDE:
        yield [*keys, *likelihoods, *states]
    else:
        yield [*keys, *likelihoods]
        yield [*keys, *states]


def _number(
    value: Callable[[CurvePoint], float | None], decimals: int
) -> Callable[[CurvePoint], str]:
    def text(point: CurvePoint) -> str:
        found = value(point)
        return compact(found, decimals) if point.n and found is not None else BLANK

    return text


def _table(curve: RolloutCurve, columns: Columns) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="")
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for point in curve.points:
        table.add_row(*(text(point) for _, text in columns))
    return table


def _remarks(curve: RolloutCurve, found: RolloutCurves) -> Iterator[str]:
    if not curve.n:
        yield "n = 0: no eval utterance drawn is long enough, or --utterances is 0"
    if curve.leaky:
        yield "leaky: k is within the encoder's look-ahead, the context has seen the target"
    if curve.shifted:
        yield (
            "The context holds the frame that is subtracted: both targets are one model, and by "
            "the mean it makes the same frames."
        )
    if curve.perfect_inflation is None or math.isnan(curve.perfect_inflation):
        return
    told = f"A perfect linear model's samples inflate the variance {_inflation(curve)} here"
    if found.mode != "sample" or found.inject != "never":
        told += " (compare --mode sample)"
    yield f"{told}."


def _inflation(curve: RolloutCurve) -> str:
    inflation = f"{compact(curve.perfect_inflation or 0.0, 2)} times"
    if curve.perfect_unbounded:
        share = f"{100 * curve.perfect_unbounded:.2g} %"
        inflation = f"without bound, by dimensions with {share} of it,"
    return inflation
