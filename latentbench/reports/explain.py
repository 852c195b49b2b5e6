"""An explanation as tables: the tails, the worst frames, NLL by context distance, the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.errors import counted
from latentbench.reports.columns import shown_number, shown_share
from latentbench.reports.tables import BLANK, LABEL, Column, Line, Table, column
from latentbench.reports.words import TITLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from latentbench.explain.explanation import Explanation

__all__ = ["explain_report"]

BAR = 24


def explain_report(found: Explanation) -> Iterator[Table | Line]:
    """What the terminal shows of an explanation."""
    where = f"k = {found.horizon}, seed {found.seed}, {found.split}"
    yield Line(TITLE, "bold")
    yield Line(f"- {found.summary}")
    yield Line(f"- {found.advice}")
    yield _tails(found)
    for one in found.tails:
        if one.non_finite:
            lost = counted(one.non_finite, "frame")
            yield Line(f"k = {one.horizon}, seed {one.seed}, {one.split}: {lost} of no finite NLL")
    yield from _worst(found, where)
    yield Line(_typical(found), "dim")
    yield _bins(found, where)
    rank = shown_number(found.rank_correlation, 3)
    yield Line(f"Rank correlation of NLL and context distance: {rank}.", "dim")
    yield Line()
    yield Line("Hypotheses", "bold")
    for hypothesis in found.hypotheses:
        mark = ("holds", "bold") if hypothesis.holds else ("no", "")
        yield Line(f"({hypothesis.letter}) {hypothesis.name}: ", more=(mark,))
        yield Line(f"    {hypothesis.evidence}", "dim")
    yield Line()
    yield Line(f"Verdict: {found.verdict}.", "bold")


def _tails(found: Explanation) -> Table:
    tails = found.tails
    keys = (
        column("k", tails, lambda one: str(one.horizon)),
        column("seed", tails, lambda one: str(one.seed)),
        column("split", tails, lambda one: one.split, left=True),
        column("n", tails, lambda one: str(one.n)),
    )
    figures = (
        _figure("mean", tails),
        _figure("median", tails),
        _figure("trimmed", tails, "trimmed_mean"),
        _figure("share", tails, decimals=4),
        _figure("weight", tails, decimals=4),
        _figure("worst", tails),
    )
    title = "What the mean NLL owes to the worst 0.1 % of the frames"
    return Table(keys, (figures,), title)


def _worst(found: Explanation, where: str) -> Iterator[Table | Line]:
    """Which frames they are, and what their contexts and the model's answers are like."""
    worst = found.worst
    number = (Column("#", tuple(str(one) for one in range(1, len(worst) + 1))),)
    names = (
        column(
            "utterance",
            worst,
            lambda one: one.utterance + (f" [{one.segment}]" if one.segment else ""),
            left=True,
            fold=LABEL,
        ),
        column(found.sampled[:-1], worst, lambda one: one.speaker, left=True, fold=LABEL),
        column("s", worst, lambda one: f"{one.seconds:.2f}"),
        _figure("NLL", worst, "nll"),
        _figure("baseline", worst, "nll_baseline"),
    )
    yield Table(number, (names,), f"The worst frames of {where}")
    yield Line()
    looks = (
        _figure("norm", worst, "context_norm", 1),
        _figure("distance", worst, "context_distance"),
        column("beyond", worst, lambda one: f"{one.distance_quantile:.2%}"),
        _figure("nearest", worst),
        _figure("log sigma", worst, "log_sigma"),
        column("clamp", worst, lambda one: shown_share(one.at_clamp)),
        _figure("weight", worst, decimals=3),
        _figure("sigmas", worst),
    )
    yield Table(number, (looks,))


def _typical(found: Explanation) -> str:
    typical = found.typical
    frames, searched = counted(typical.n, "frame"), counted(found.searched, "train context")
    return (
        f"Of {frames} evenly spaced: distance {shown_number(typical.context_distance)}, "
        f"nearest {shown_number(typical.nearest)} (rare from {shown_number(typical.nearest_far)}, "
        f"of {searched}), log sigma {shown_number(typical.log_sigma)}, clamp "
        f"{shown_share(typical.at_clamp)}, sigmas {shown_number(typical.sigmas)}."
    )


def _bins(found: Explanation, where: str) -> Table:
    bins = found.bins
    medians = [one.median for one in bins if one.n and math.isfinite(one.median)]
    low, high = min(medians, default=0.0), max(medians, default=0.0)
    keys = (
        column("of train contexts", bins, lambda one: f"{one.low:.1%} to {one.high:.1%}"),
        column("n", bins, lambda one: str(one.n)),
        column("median", bins, lambda one: shown_number(one.median) if one.n else BLANK),
        column("mean", bins, lambda one: shown_number(one.mean) if one.n else BLANK),
        column("excess", bins, lambda one: shown_share(one.share)),
        column(
            "median NLL", bins, lambda one: _bar(one.median, low, high) if one.n else "", left=True
        ),
    )
    return Table(keys, title=f"NLL against context distance, {where}")


def _figure(heading: str, rows: Sequence[Any], name: str = "", decimals: int = 2) -> Column:
    return column(heading, rows, lambda one: shown_number(getattr(one, name or heading), decimals))


def _bar(value: float, low: float, high: float) -> str:
    """A bar from the lowest median to the highest, at least one mark long."""
    if not math.isfinite(value) or high <= low:
        return "█"
    return "█" * max(1, round(BAR * (value - low) / (high - low)))
