"""Figures: every number of a run, or of several, as one tidy table (docs/results.md).

Every view is made from it: the tables of the terminal, the exports, `figures.csv`, and what a
notebook takes as a data frame.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from latentbench.errors import UsageError, counted, nearest
from latentbench.escapes import csv_text
from latentbench.metrics.units import NATS, is_rate
from latentbench.results.schema import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from latentbench.results.schema import HorizonResult, Result, RolloutFigures

__all__ = [
    "BITS",
    "FLOOR",
    "GAP",
    "HEADLINES",
    "MEDIAN_GAP",
    "NON_FINITE",
    "SCORES",
    "FigureRow",
    "Figures",
    "median_gap_at",
]

ALL = "all"
# Figures that are no metric: what white latents would score, and those of the rollout.
FLOOR = "iid_floor"
GAP = "rollout_gap"
MEDIAN_GAP = "rollout_gap_median"
NON_FINITE = "rollout_non_finite"
# What each frame scored, lower being better, by which models of the same latents are held against
# one another: other latents have others.
SCORES = ("nll", "energy_score", "variogram_score")
# What is looked at first, of what a run has.
HEADLINES = ("gain", "dnll_context", "dnll")
# The gain in time, where it is a rate.
BITS = "bits_per_second"


def median_gap_at(depth: int) -> str:
    """The name of the median rollout gap at one depth."""
    return f"{MEDIAN_GAP}_{depth}"


@dataclass(frozen=True)
class FigureRow:
    """One figure of a run, with all that says what it is of.

    Attributes:
        run: what the run is called.
        encoder, corpus, predictor: by name.
        ms, k: staleness, in milliseconds and in frames.
        split, slice: whose frames, and which of them.
        figure: name of the metric; `bits_per_second` is the gain where it is a rate, at one frame
            of staleness and with the target x; `iid_floor` of white latents; `rollout_gap`,
            `rollout_gap_median`, the same at a depth (`rollout_gap_median_8`) and
            `rollout_non_finite` of the rollout.
        value: mean over seeds; nan where it is undefined, infinite where a frame is.
        low, high: bounds of the 95 % interval over speakers; None where there is none.
        seed_error: standard error over seeds; None for one seed.
        n: frames it is computed from; 0 where its cells failed or no frame was there.
        speakers: whose frames they are; 0 where no interval was asked.
        unit: empty for a pure number.
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
    low: float | None = None
    high: float | None = None
    seed_error: float | None = None
    n: int = 0
    speakers: int = 0
    unit: str = NATS
    better: str = "lower"


COLUMNS = tuple(one.name for one in fields(FigureRow))


class Figures:
    """A tidy table of figures, a row each.

        figures.where(split="eval", figure=["dnll", "dnll_context"]).to_pandas()

    Attributes:
        rows: plain records, by run and horizon.
    """

    def __init__(self, rows: Iterable[FigureRow]) -> None:
        self.rows = tuple(rows)

    @classmethod
    def of(cls, result: Result, run: str = "") -> Figures:
        """Every figure of a result; those of a horizon that failed have n = 0.

        Args:
            result: of a run.
            run: what it is called.
        """
        names = (run, result.encoder.name, result.corpus.name, result.config["predictor"]["name"])
        return cls.of_horizons(result.horizons, *names, target=result.config["task"]["target"])

    @classmethod
    def of_horizons(
        cls,
        horizons: Sequence[HorizonResult],
        run: str,
        encoder: str,
        corpus: str,
        predictor: str,
        *,
        target: str,
    ) -> Figures:
        """The same of the horizons of one run, whose components and target are given by name."""
        rows: list[FigureRow] = []
        for horizon in horizons:
            shared: dict[str, Any] = {
                "run": run,
                "encoder": encoder,
                "corpus": corpus,
                "predictor": predictor,
            }
            shared |= {"ms": horizon.milliseconds, "k": horizon.k}
            own = [FigureRow(**shared, **one) for one in _of_horizon(horizon, horizons)]
            rows += own
            if is_rate("gain", target=target, horizon=horizon.k):
                rows += (_in_time(one) for one in own if (one.figure, one.slice) == ("gain", ALL))
        return cls(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[FigureRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Figures({counted(len(self), 'row')} of {counted(len(self.runs), 'run')})"

    def where(self, **wanted: Any) -> Figures:
        """The rows whose columns have these values, each one value or a collection of them.

        Raises:
            UsageError: there is no such column; names the nearest.
        """
        for name in wanted:
            if name not in COLUMNS:
                raise UsageError(f"Figures have no column '{name}'.", nearest(name, COLUMNS))
        kept = {name: _several(value) for name, value in wanted.items()}
        return Figures(
            row
            for row in self.rows
            if all(getattr(row, name) in values for name, values in kept.items())
        )

    def find(
        self, figure: str, k: int, *, run: str = "", split: str = "eval", slice_: str = ALL
    ) -> FigureRow | None:
        """One figure of one horizon; None where it was not measured.

        Args:
            figure: its name.
            k: staleness, in frames.
            run: which; need not be said where there is one.
            split: whose frames.
            slice_: which of them.

        Raises:
            UsageError: there are several runs, and none is named.
        """
        if not run and len(self.runs) > 1:
            raise UsageError("These are figures of several runs.", nearest(run, self.runs))
        return self._by_place.get((run or self.runs[0], k, split, slice_, figure))

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """What the runs are called, in order; at least one name, if an empty one."""
        return tuple(dict.fromkeys(row.run for row in self.rows)) or ("",)

    def unit(self, figure: str) -> str:
        """The unit of a figure; empty for a pure number."""
        return self._units.get(figure, "")

    @cached_property
    def _units(self) -> dict[str, str]:
        return {row.figure: row.unit for row in reversed(self.rows)}

    @cached_property
    def _by_place(self) -> dict[tuple[str, int, str, str, str], FigureRow]:
        return {(row.run, row.k, row.split, row.slice, row.figure): row for row in self.rows}

    def to_csv(self) -> str:
        """The text of `figures.csv`: a column for each attribute of a row, blank for None."""
        return csv_text([COLUMNS, *map(astuple, self.rows)])

    def to_arrow(self) -> pa.Table:
        """A pyarrow table; null for None."""
        import pyarrow as pa  # noqa: PLC0415 - what is only shown needs none

        types = {"str": pa.string(), "int": pa.int64()}  # the others are numbers
        return pa.table(
            {
                one.name: pa.array(
                    [getattr(row, one.name) for row in self.rows],
                    types.get(str(one.type), pa.float64()),
                )
                for one in fields(FigureRow)
            }
        )

    def to_pandas(self) -> Any:
        """A pandas data frame; NaN for None.

        Raises:
            UsageError: pandas is not installed.
        """
        _extra("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A polars data frame; null for None.

        Raises:
            UsageError: polars is not installed.
        """
        return _extra("polars").from_arrow(self.to_arrow())


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise UsageError(
            f"to_{name}() needs {name}, which is not installed.",
            f"pip install 'latentbench[{name}]', or take to_arrow() or rows.",
        ) from None


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple | set | frozenset) else (value,)


def _of_horizon(
    horizon: HorizonResult, horizons: Sequence[HorizonResult]
) -> Iterator[dict[str, Any]]:
    """What is of one horizon alone in its rows; one that failed has the figures of the others."""
    measured = next((one.figures for one in horizons if one.figures), ())
    nothing = {"value": math.nan, "low": None, "high": None, "n": 0, "speakers": 0}
    for figure in horizon.figures or (one.model_copy(update=nothing) for one in measured):
        same = {name: getattr(figure, name) for name in COLUMNS if name in Figure.model_fields}
        yield same | {"figure": figure.name}
    for split, scored in horizon.scored.items():
        # A closed form: it has no interval, and its n is that of the frames it stands beside.
        place = {"split": split, "slice": ALL, "figure": FLOOR}
        yield place | {"value": horizon.iid_floor, "n": scored}
    if horizon.rollout is not None:
        for figures in _of_rollout(horizon.rollout):
            yield {"split": "eval", "slice": ALL, "n": horizon.rollout.n} | figures


def _in_time(gain: FigureRow) -> FigureRow:
    """A gain at one frame of staleness in bits a second."""
    factor = 1000.0 / (gain.ms * math.log(2.0))

    def turned(nats: float | None) -> float | None:
        return None if nats is None else nats * factor

    bounds: dict[str, Any] = {
        name: turned(getattr(gain, name)) for name in ("low", "high", "seed_error")
    }
    changed: dict[str, Any] = {"figure": BITS, "value": gain.value * factor, "unit": "bits/s"}
    return replace(gain, **changed, **bounds)


def _of_rollout(rollout: RolloutFigures) -> Iterator[dict[str, Any]]:
    for figure, value, interval in (
        (GAP, rollout.mean_gap, rollout.mean_interval),
        (MEDIAN_GAP, rollout.median_gap, rollout.median_interval),
    ):
        bounds = {"low": interval.low, "high": interval.high, "speakers": rollout.speakers}
        yield {"figure": figure, "value": value, "unit": rollout.unit, **bounds}
    for one in rollout.depths:
        gaps = one.n if rollout.n else 0  # by samples there are frames and no gap
        gap = {"figure": median_gap_at(one.depth), "value": one.median_gap, "n": gaps}
        yield gap | {"unit": rollout.unit}
    yield {"figure": NON_FINITE, "value": float(rollout.non_finite), "unit": "frames"}
