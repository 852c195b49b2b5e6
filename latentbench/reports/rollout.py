"""Rollout curves as tables, one per horizon and target; a row is a depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.errors import counted
from latentbench.reports.columns import compact, time_text
from latentbench.reports.tables import BLANK, Column, Line, Table, column
from latentbench.reports.words import TITLE
from latentbench.rollout.alive import ending, life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentbench.rollout.alive import CurvePoint
    from latentbench.rollout.curves import RolloutCurve, RolloutCurves
    from latentbench.rollout.injection import InjectedRollouts

__all__ = ["injection_report", "rollout_report", "words_of_rollout"]

MODES = {
    "mean": "the mean",
    "sample": "samples",
    "component": "the mean of the most likely component",
}
INJECTED = {
    "never": "no true frame given back",
    "teacher": "every true frame given back",
    "once": "the true frame given back once, at step {}",
    "every": "a true frame given back at every step that {} divides",
    "until": "every true frame given back up to step {}",
}
LEGEND = """\
target Δ: changes are added up; x: frames are predicted one by one
depth j: the newest frame of the context is the j-th that the model made
NLL, gap: nats/frame, median under true contexts, and what the model's own add
error: |x̂-x| over √tr Σ, 1.41 for an unrelated frame
cosine, size: of the change made against the true one
variance: of the rolled state over the true one"""
LEGEND_IN_FULL = """
autocorrelation: of a frame and the one before it; true: of true frames
energy distance: from true frames of the depth; 0: one distribution, at most 1"""

LEGEND_OF_INJECTION = """\
A every true frame given back, B that of steps 4, 8, 12 and 16, C that of step 1, D none
cosine: of the change made and the true one; ΔNLL: under the model's own frames, nats/frame
error: |x̂-x|, in units of the latents; all are means over the steps
published, D: Mimi .068, +40.1, 79.1; EnCodec .093, +.62, 13.9; PCA-32 .099, +40.4, 47.9"""


def rollout_report(found: RolloutCurves, *, full: bool = False) -> Iterator[Table | Line]:
    """What the terminal shows of rollouts.

    Args:
        found: the curves.
        full: also how frames follow one another, and how far they are from true ones as a whole.
    """
    stamps = tuple((f" [{stamp}]", "bold yellow") for stamp in found.stamps)
    yield Line(f"Rollout of {found.predictor} on {found.encoder}, {found.corpus}", "bold", stamps)
    kind, _, steps = found.inject.partition(":")
    yield Line(f"by {MODES[found.mode]}, {INJECTED[kind].format(steps)}", "dim")
    yield Line()
    yield Line(TITLE, "bold")
    yield from (Line(f"- {text}") for text in words_of_rollout(found))
    for curve in found.curves:
        comparable = found.mode == "sample" and found.inject == "never"
        yield _table(curve, perfect=comparable, full=full)
        yield from map(Line, _remarks(curve, comparable=comparable))
    yield Line()
    yield Line(LEGEND + (LEGEND_IN_FULL if full else ""), "dim")
    if not full:
        yield Line("--full adds the autocorrelation and the energy distance.", "dim")
    if any(curve.perfect_inflation is not None for curve in found.curves):
        frames = counted(found.train_frames, "frame")
        yield Line(f"perfect: the variance of {found.perfect_model} ({frames})", "dim")
    yield from map(Line, found.notes)


def words_of_rollout(found: RolloutCurves) -> list[str]:
    """A sentence for each horizon and target: until when a rollout stays alive, and how it ends."""
    return [_fate(curve, found.mode) for curve in found.curves] or ["Nothing was rolled out."]


def _fate(curve: RolloutCurve, mode: str) -> str:
    target = "Δ" if curve.target == "delta" else "x"
    what = f"k = {curve.k} ({time_text(curve.milliseconds)} ms), target {target}"
    frame = curve.milliseconds / curve.k
    until, dead, known = life(curve.points)
    if not known:
        return f"{what}: no utterance is long enough to tell."
    if dead is None:
        last = time_text(until * frame)
        return f"{what}: stays alive to the deepest depth that is shown, {last} ms."
    stable = f"stable for {time_text(until * frame)} ms" if until else "not stable at any depth"
    return f"{what}: {stable}; at depth {dead.depth} {_end(dead, mode)}."


def _end(one: CurvePoint, mode: str) -> str:
    how = ending(one)
    moved, spread = compact(one.magnitude_ratio, 2), compact(one.variance_ratio, 2)
    if how == "stands still":
        why = "" if mode == "sample" else ", as a mean does; see --mode sample"
        return f"it {how} (it moves {moved} of what true frames do{why})"
    if how == "shakes":
        return f"it {how} (it moves {moved} times what true frames do)"
    return f"it {how} (variance {spread} of the true one)"


def _table(curve: RolloutCurve, *, perfect: bool, full: bool) -> Table:
    """The likelihoods, then the states: side by side where the terminal has room for both."""

    def number(heading: str, value: Callable[[CurvePoint], float | None], decimals: int) -> Column:
        def text(point: CurvePoint) -> str:
            found = value(point)
            return compact(found, decimals) if point.n and found is not None else BLANK

        return column(heading, curve.points, text)

    keys = (
        column("depth", curve.points, lambda one: str(one.depth)),
        column("n", curve.points, lambda one: str(one.n)),
    )
    likelihoods = (
        number("NLL", lambda one: _likely(one, one.nll_teacher), 2),
        number("gap median", lambda one: _likely(one, one.gap_median), 2),
        number("gap mean", lambda one: _likely(one, one.gap_mean), 2),
        number("non-finite", lambda one: _likely(one, one.non_finite), 0),
    )
    states = [
        number("error", lambda one: one.state_error, 3),
        number("cosine", lambda one: one.cosine, 3),
        number("size", lambda one: one.magnitude_ratio, 3),
        number("variance", lambda one: one.variance_ratio, 2),
    ]
    if perfect and curve.perfect_inflation is not None:
        states.append(number("perfect", lambda one: one.perfect_variance_ratio, 2))
    whole = (
        number("autocorrelation", lambda one: one.autocorrelation, 3),
        number("true", lambda one: one.true_autocorrelation, 3),
        number("energy distance", lambda one: one.energy_distance, 4),
    )
    deepest = "" if curve.deepest is None else f", depths to {curve.deepest}"
    title = (
        f"k = {curve.k} ({time_text(curve.milliseconds)} ms), "
        f"target {'Δ' if curve.target == 'delta' else 'x'}: "
        f"{counted(curve.utterances, 'utterance')}, {counted(curve.n, 'frame')}{deepest}"
    )
    return Table(keys, (likelihoods, tuple(states), *([whole] if full else [])), title)


def _likely(point: CurvePoint, value: float) -> float | None:
    """A figure of likelihoods; None without a log-density: a gap that is there is a number."""
    return None if math.isnan(point.gap_median) else value


def _remarks(curve: RolloutCurve, *, comparable: bool) -> Iterator[str]:
    if not curve.n:
        yield "n = 0: no eval utterance drawn is long enough, or --utterances is 0"
    if curve.leaky:
        yield "leaky: k is within the encoder's look-ahead, the context has seen the target"
    if curve.shifted:
        yield (
            "The context holds the frame that is subtracted: both targets are one model, which "
            "makes the same frames."
        )
    if curve.perfect_inflation is None or math.isnan(curve.perfect_inflation):
        return
    inflation = f"{compact(curve.perfect_inflation, 2)} times"
    if curve.perfect_unbounded:
        share = f"{100 * curve.perfect_unbounded:.2g} %"
        inflation = f"without bound, by dimensions with {share} of it,"
    hint = "" if comparable else " (compare --mode sample)"
    yield f"A perfect linear model's samples inflate the variance {inflation} here{hint}."


def injection_report(found: InjectedRollouts) -> Iterator[Table | Line]:
    """What the terminal shows of the published injection protocol: one table."""
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
    yield Line(LEGEND_OF_INJECTION, "dim")
    yield from map(Line, found.notes)
