"""`figures.csv`: every figure of a run as one tidy table, a row each (docs/results.md)."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

from latentbench.escapes import for_csv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.results.schema import Figure, HorizonResult, Result, RolloutFigures

__all__ = ["FigureRow", "figure_rows", "figures_csv"]

ALL = "all"


@dataclass(frozen=True)
class FigureRow:
    """One figure of a run, with all that says what it is of.

    Attributes:
        run: what the run is called.
        encoder: by name, as are `corpus` and `predictor`.
        corpus: see `encoder`.
        predictor: see `encoder`.
        ms: staleness, in milliseconds.
        k: staleness, in frames.
        split: whose frames.
        slice: which of them.
        figure: name of the metric; `rollout_gap` and `rollout_gap_median` of the rollout,
            `iid_floor` of white latents.
        value: mean over seeds; nan where it is undefined, infinite where a frame is.
        low: lower bound of the 95 % interval over speakers; None where there is none.
        high: upper bound.
        n: frames it is computed from; 0 where its cells failed or no frame was there.
        speakers: whose frames they are; 0 where no interval was asked.
        unit: e.g. `nats/frame`; empty for a pure number.
        better: `lower`, `higher`, or `nominal`, the closer to an ideal value.
    """

    run: str
    encoder: str
    corpus: str
    predictor: str
    ms: float
    k: int
    split: str
    slice: str
    figure: str
    value: float
    low: float | None
    high: float | None
    n: int
    speakers: int
    unit: str
    better: str


@dataclass(frozen=True)
class _Names:
    """The columns that all rows of a horizon share."""

    run: str
    encoder: str
    corpus: str
    predictor: str
    ms: float
    k: int


def figure_rows(result: Result, run: str) -> list[FigureRow]:
    """Every figure of a result, by horizon; those of a horizon that failed have n = 0.

    Args:
        result: of a run.
        run: what it is called.
    """
    rows = []
    for horizon in result.horizons:
        names = _Names(
            run,
            result.encoder.name,
            result.corpus.name,
            result.config["predictor"]["name"],
            horizon.milliseconds,
            horizon.k,
        )
        rows += [_row(names, figure) for figure in horizon.figures or _failed(result)]
        rows += _floor(names, horizon)
        if horizon.rollout is not None:
            rows += _gaps(names, horizon.rollout)
    return rows


def figures_csv(result: Result, run: str) -> str:
    """The text of `figures.csv`: a column for each attribute of `FigureRow`, blank for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([one.name for one in fields(FigureRow)])
    for row in figure_rows(result, run):
        writer.writerow([for_csv(one) if isinstance(one, str) else one for one in astuple(row)])
    return text.getvalue()


def _row(names: _Names, figure: Figure) -> FigureRow:
    return FigureRow(
        **vars(names),
        split=figure.split,
        slice=figure.slice,
        figure=figure.name,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        n=figure.n,
        speakers=figure.speakers,
        unit=figure.unit,
        better=figure.better,
    )


def _failed(result: Result) -> Iterator[Figure]:
    """What a horizon without any cell would have had, by the first one that has."""
    measured = next((one.figures for one in result.horizons if one.figures), ())
    nothing = {"value": math.nan, "low": None, "high": None, "n": 0, "speakers": 0}
    return (one.model_copy(update=nothing) for one in measured)


def _floor(names: _Names, horizon: HorizonResult) -> Iterator[FigureRow]:
    """A closed form: it has no interval, and its n is that of the frames it stands beside."""
    for split, scored in horizon.scored.items():
        yield FigureRow(
            **vars(names),
            split=split,
            slice=ALL,
            figure="iid_floor",
            value=horizon.iid_floor,
            low=None,
            high=None,
            n=scored,
            speakers=0,
            unit="nats/frame",
            better="lower",
        )


def _gaps(names: _Names, rollout: RolloutFigures) -> Iterator[FigureRow]:
    for figure, value, interval in (
        ("rollout_gap", rollout.mean_gap, rollout.mean_interval),
        ("rollout_gap_median", rollout.median_gap, rollout.median_interval),
    ):
        yield FigureRow(
            **vars(names),
            split="eval",
            slice=ALL,
            figure=figure,
            value=value,
            low=interval.low,
            high=interval.high,
            n=rollout.n,
            speakers=rollout.speakers,
            unit=rollout.unit,
            better="lower",
        )
