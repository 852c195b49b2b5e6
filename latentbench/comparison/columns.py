"""The columns of a comparison as tables show them, and its rows as programs take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentbench.reports.numbers import compact, time_text
from latentbench.reports.table import HEADINGS, OTHER_DECIMALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from latentbench.comparison.schema import (
        ComparedHorizon,
        ComparedRun,
        Comparison,
        PairedDifference,
        Scale,
    )
    from latentbench.results.schema import RolloutFigures

__all__ = ["Column", "by_horizon", "column_groups", "flat_rows", "headings", "key_columns"]

ALL = "all"
BLANK = "-"
# Absolute figures of different latents cannot be compared, so they are in the exports alone.
ABSOLUTE = ("nll", "nll_baseline")
NATS = "nats/frame"
FAILED = (("eval", ALL),)  # the row of a horizon without figures


@dataclass(frozen=True)
class Column:
    """One column: its heading, its unit if it has one, and its cell for a row."""

    heading: str
    unit: str
    cell: Callable[[ComparedHorizon], str]


def column_groups(comparison: Comparison) -> list[list[Column]]:
    """What stands in one table where there is room: likelihood, the mean, rollout, the means.

    Figures are of all eval frames, but for the headline's on train.
    """
    names = [name for name in comparison.metrics if name not in ABSOLUTE]
    nats = [name for name in names if _unit(comparison, name) == NATS]
    headline = comparison.headline
    likelihood = [
        _n(),
        *_figure(comparison, headline),
        _per_dim(headline),
        _metric(comparison, headline, split="train"),
        *_floor(comparison),
        *(column for name in nats if name != headline for column in _figure(comparison, name)),
        *_rates(comparison),
    ]
    others = [name for name in names if name not in nats and name != headline]
    mean = [column for name in others for column in _figure(comparison, name)]
    runs = {run.label: run for run in comparison.runs}
    means = [
        Column("context", "frames", lambda one: str(runs[one.run].context_frames)),
        Column("parameters", "", lambda one: f"{one.result.parameters:,}"),
        Column("steps", "", lambda one: f"{runs[one.run].steps:,}"),
    ]
    return [likelihood, mean, _rollout(), means]


def headings(columns: list[Column]) -> list[str]:
    """Each heading with its unit, on one line."""
    return [f"{one.heading} ({one.unit})" if one.unit else one.heading for one in columns]


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per horizon, run, split and slice; every figure under its own name.

    A figure in nats per frame is there per dimension too, and as kbps where it is a rate; those
    of all eval frames are there as differences from the first run. None: not measured.
    """
    units = {name: _unit(comparison, name) for name in comparison.metrics}
    compared = tuple(dict.fromkeys(one.name for one in comparison.paired))
    rows = []
    for one in comparison.horizons:
        parts = dict.fromkeys((figure.split, figure.slice) for figure in one.result.figures)
        for split, slice_ in parts or FAILED:
            row = _flat(comparison.run(one.run), one, split, slice_, units)
            whole = (split, slice_) == ("eval", ALL)
            found = {
                pair.name: pair
                for pair in comparison.paired
                if whole and (pair.run, pair.matched) == (one.run, one.matched)
            }
            reference = comparison.runs[0].label if found else None
            rows.append(row | {"against": reference} | _paired(found, compared))
    return rows


def _paired(found: Mapping[str, PairedDifference], names: Sequence[str]) -> dict[str, Any]:
    """The differences of one row from that of the reference, None where it has none."""
    row: dict[str, Any] = {}
    for name in names:
        one = found.get(name)
        for key in ("value", "low", "high", "unit", "speakers", "verdict", "reason"):
            column = f"{name}_difference" if key == "value" else f"{name}_difference_{key}"
            row[column] = getattr(one, key) if one is not None else None
    return row


def _flat(
    run: ComparedRun, one: ComparedHorizon, split: str, slice_: str, units: Mapping[str, str]
) -> dict[str, Any]:
    found = one.result
    figures = {name: found.find(split, slice_, name) for name in units}
    row: dict[str, Any] = {
        "matched": one.matched,
        "run": one.run,
        "encoder": run.encoder.name,
        "predictor": run.predictor,
        "corpus": run.corpus,
        "transforms": "; ".join(run.transforms),
        "seeds": " ".join(map(str, found.seeds)),
        "split": split,
        "slice": slice_,
        "k": found.k,
        "milliseconds": found.milliseconds,
        "asked_milliseconds": one.asked_ms,
        "leaky": found.leaky,
        "status": found.status,
        "n": max((figure.n for figure in figures.values() if figure is not None), default=0),
    }
    for name, figure in figures.items():
        measured = figure if figure is not None and figure.n else None
        row[name] = measured.value if measured else None
        row[f"{name}_low"] = measured.low if measured else None
        row[f"{name}_high"] = measured.high if measured else None
        if units[name] == NATS:
            scale = one.scale(split, slice_, name)
            row[f"{name}_nats_per_dim"] = scale.nats_per_dim if scale else None
            row[f"{name}_kbps"] = scale.kbps if scale else None
    rollout = found.rollout if (split, slice_) == ("eval", ALL) else None
    for key in ("n", "mean_gap", "median_gap", "non_finite"):
        counted = rollout is not None and (rollout.n or key in {"n", "non_finite"})
        row[f"rollout_{key}"] = getattr(rollout, key) if counted else None
    return row | {
        "iid_floor": found.iid_floor,
        "dim": found.dim,
        "frame_rate": run.encoder.frame_rate,
        "look_ahead": run.encoder.look_ahead,
        "context_frames": run.context_frames,
        "context_milliseconds": run.context_ms,
        "step_frames": run.step_frames,
        "step_milliseconds": run.step_ms,
        "parameters": found.parameters,
        "steps": run.steps,
        "stamps": "; ".join(run.stamps),
    }


def _unit(comparison: Comparison, name: str) -> str:
    figures = (one for horizon in comparison.horizons for one in horizon.result.figures)
    return next((one.unit for one in figures if one.name == name), "")


def _n() -> Column:
    def cell(one: ComparedHorizon) -> str:
        if not one.result.seeds:
            return "failed"
        return str(one.result.scored.get("eval", 0))

    return Column("n", "frames", cell)


def _figure(comparison: Comparison, name: str) -> Iterator[Column]:
    """The figure; beside the headline, and beside what no table has columns for, its interval."""
    yield _metric(comparison, name)
    if name == comparison.headline or name not in HEADINGS:
        yield from _interval(comparison, name)


def _metric(comparison: Comparison, name: str, split: str = "eval") -> Column:
    heading, decimals = HEADINGS.get(name, (name, OTHER_DECIMALS))

    def cell(one: ComparedHorizon) -> str:
        found = one.result.find(split, ALL, name)
        return compact(found.value, decimals) if found is not None and found.n else BLANK

    unit = _unit(comparison, name)
    return Column(heading, unit if split == "eval" else f"{split} {unit}", cell)


def _interval(comparison: Comparison, name: str) -> Iterator[Column]:
    """The 95 % interval over speakers, where any run has one."""
    _, decimals = HEADINGS.get(name, (name, OTHER_DECIMALS))

    def cell(one: ComparedHorizon) -> str:
        found = one.result.find("eval", ALL, name)
        if found is None or found.low is None or found.high is None:
            return BLANK
        return f"{compact(found.low, decimals)} to {compact(found.high, decimals)}"

    if any(cell(one) != BLANK for one in comparison.horizons):
        yield Column("95 % interval", _unit(comparison, name), cell)


def _floor(comparison: Comparison) -> Iterator[Column]:
    """What latents without any temporal structure would score, where that is not 0."""
    if any(one.result.iid_floor for one in comparison.horizons):
        yield Column("iid floor", NATS, lambda one: compact(one.result.iid_floor, 2))


def _per_dim(name: str) -> Column:
    heading, _ = HEADINGS.get(name, (name, OTHER_DECIMALS))

    def cell(one: ComparedHorizon) -> str:
        found = one.scale("eval", ALL, name)
        return compact(found.nats_per_dim, OTHER_DECIMALS) if found else BLANK

    return Column(heading, "nats/dim", cell)


def _rates(comparison: Comparison) -> Iterator[Column]:
    """A column of kbps for each metric that is a rate anywhere."""
    rates = dict.fromkeys(
        scale.name for horizon in comparison.horizons for scale in horizon.scales if _is_rate(scale)
    )

    def column(name: str) -> Column:
        def cell(one: ComparedHorizon) -> str:
            found = one.scale("eval", ALL, name)
            return BLANK if found is None or found.kbps is None else compact(found.kbps, 3)

        return Column(HEADINGS.get(name, (name, 0))[0], "kbps", cell)

    yield from map(column, rates)


def _is_rate(scale: Scale) -> bool:
    return (scale.split, scale.slice) == ("eval", ALL) and scale.kbps is not None


def _rollout() -> list[Column]:
    def column(heading: str, unit: str, show: Callable[[RolloutFigures], str]) -> Column:
        def cell(one: ComparedHorizon) -> str:
            return BLANK if one.result.rollout is None else show(one.result.rollout)

        return Column(heading, unit, cell)

    def gap(found: RolloutFigures, value: float) -> str:
        return compact(value, 2) if found.n else BLANK

    return [
        column("rollout gap", "median", lambda found: gap(found, found.median_gap)),
        column("rollout gap", "mean", lambda found: gap(found, found.mean_gap)),
        column("non-finite", "of n", lambda found: f"{found.non_finite}/{found.n}"),
    ]


def key_columns(comparison: Comparison) -> list[Column]:
    """What tells the rows of one horizon apart: the run, k, its time, and what is wrong."""
    columns = [
        Column("run", "", lambda one: one.run),
        Column("k", "", lambda one: str(one.result.k)),
    ]
    if any(_time(one) != one.matched for one in comparison.horizons):
        columns.append(Column("is", "", _time))
    if any(one.result.leaky for one in comparison.horizons):
        columns.append(Column("", "", lambda one: "leaky" if one.result.leaky else ""))
    return columns


def _time(one: ComparedHorizon) -> str:
    return f"{time_text(one.result.milliseconds)} ms"


def by_horizon(comparison: Comparison) -> Mapping[str, list[ComparedHorizon]]:
    """The rows of each horizon, by its label."""
    found: dict[str, list[ComparedHorizon]] = {}
    for one in comparison.horizons:
        found.setdefault(one.matched, []).append(one)
    return found
