"""A comparison as one wide table, unrounded: a row per horizon, run, split and slice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from latentbench.escapes import csv_text
from latentbench.metrics.units import NATS
from latentbench.results.figures import GAP, MEDIAN_GAP, NON_FINITE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentbench.comparisons import Comparison
    from latentbench.comparisons.against import FigureDifference
    from latentbench.comparisons.comparison import ComparedHorizon, ComparedRun
    from latentbench.comparisons.ranks import Rank
    from latentbench.results.schema import HorizonResult

__all__ = ["comparison_csv"]

ALL = "all"
FAILED = (("eval", ALL),)  # the row of a horizon without figures
OF_DIFFERENCE = ("value", "low", "high", "unit", "speakers", "verdict", "reason")


def comparison_csv(comparison: Comparison) -> str:
    """Every figure under its own name, the ranks, and the difference from the first run.

    A figure in nats per frame is there per dimension too, and as kbps where it is a rate; those
    of all eval frames are there as differences, and their rows have the ranks. Blank: not
    measured.
    """
    rows = list(_rows(comparison))
    return csv_text([rows[0], *(row.values() for row in rows)])


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    runs = {run.label: run for run in comparison.runs}
    against = {(one.run, one.matched, one.name): one for one in comparison.against}
    ranks = {(one.run, one.matched): one for one in comparison.ranks}
    compared = tuple(dict.fromkeys(one.name for one in comparison.against))
    for one in comparison.horizons:
        parts = dict.fromkeys((figure.split, figure.slice) for figure in one.result.figures)
        for split, slice_ in parts or FAILED:
            whole = (split, slice_) == ("eval", ALL)
            found = {name: against.get((one.run, one.matched, name)) for name in compared}
            yield {
                **_place(one, runs[one.run], split, slice_),
                **_figures(comparison, one, split, slice_),
                **_circumstances(one.result, runs[one.run]),
                **_ranked(ranks.get((one.run, one.matched)) if whole else None),
                "against": comparison.runs[0].label if whole and any(found.values()) else None,
                **(_differences(found if whole else dict.fromkeys(compared))),
            }


def _place(one: ComparedHorizon, run: ComparedRun, split: str, slice_: str) -> dict[str, Any]:
    return {
        "matched": one.matched,
        "run": one.run,
        "encoder": run.encoder.name,
        "predictor": run.predictor,
        "corpus": run.corpus,
        "transforms": "; ".join(run.transforms),
        "seeds": " ".join(map(str, one.result.seeds)),
        "split": split,
        "slice": slice_,
        "k": one.result.k,
        "milliseconds": one.result.milliseconds,
        "asked_milliseconds": one.asked_ms,
        "leaky": one.result.leaky,
        "status": one.result.status,
    }


def _figures(
    comparison: Comparison, one: ComparedHorizon, split: str, slice_: str
) -> dict[str, Any]:
    find = partial(comparison.figures.find, k=one.result.k, run=one.run)
    figures = {name: find(name, split=split, slice_=slice_) for name in comparison.metrics}
    counts = [figure.n for figure in figures.values() if figure is not None]
    row: dict[str, Any] = {"n": max(counts, default=0)}
    for name, figure in figures.items():
        measured = figure if figure is not None and figure.n else None
        row[name] = measured.value if measured else None
        row[f"{name}_low"] = measured.low if measured else None
        row[f"{name}_high"] = measured.high if measured else None
        if comparison.figures.unit(name) == NATS:
            scale = one.scale(split, slice_, name)
            row[f"{name}_nats_per_dim"] = scale.nats_per_dim if scale else None
            row[f"{name}_kbps"] = scale.kbps if scale else None
    whole = (split, slice_) == ("eval", ALL)
    mean, median, lost = (find(name) if whole else None for name in (GAP, MEDIAN_GAP, NON_FINITE))
    return row | {
        "rollout_n": mean.n if mean else None,
        "rollout_mean_gap": mean.value if mean and mean.n else None,
        "rollout_median_gap": median.value if median and median.n else None,
        "rollout_non_finite": int(lost.value) if lost else None,
    }


def _circumstances(result: HorizonResult, run: ComparedRun) -> dict[str, Any]:
    return {
        "iid_floor": result.iid_floor,
        "dim": result.dim,
        "frame_rate": run.encoder.frame_rate,
        "look_ahead": run.encoder.look_ahead,
        "context_frames": run.context_frames,
        "context_milliseconds": run.context_ms,
        "step_frames": run.step_frames,
        "step_milliseconds": run.step_ms,
        "parameters": result.parameters,
        "steps": run.steps,
        "stamps": "; ".join(run.stamps),
    }


def _ranked(rank: Rank | None) -> dict[str, Any]:
    """Where a run stands, and by what; blank in a row that has no rank."""
    return {
        "ranked_by": rank and rank.figure,
        "ranked_value": rank and rank.value,
        "rank": rank and rank.rank,
        "not_ranked": rank and "; ".join(rank.reasons),
        "ranked_beside_by": rank and rank.beside,
        "ranked_beside_value": rank and rank.value_beside,
        "rank_beside": rank and rank.rank_beside,
    }


def _differences(found: Mapping[str, FigureDifference | None]) -> dict[str, Any]:
    """The differences of one row from that of the first run, None where it has none."""
    return {
        f"{name}_difference{'' if key == 'value' else f'_{key}'}": getattr(one, key, None)
        for name, one in found.items()
        for key in OF_DIFFERENCE
    }
