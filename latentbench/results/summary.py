"""Compute the figures of a horizon, with intervals, from the tables of its cells.

Value and interval come from one statistic of the stored columns, so a new metric over columns
that are there needs no new run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from latentbench.errors import LatentbenchError
from latentbench.files import reading
from latentbench.metrics.statistics import Mean, Quantile, SeedMean
from latentbench.results.folder import AGAIN
from latentbench.results.schema import SPLITS, DepthGap, Figure, GapInterval, RolloutFigures
from latentbench.results.standing import worded
from latentbench.results.uncertainty import estimate, known, seed_error
from latentbench.rollout.alive import CurvePoint, ending, life
from latentbench.rollout.figures import (
    STATE_COLUMNS,
    by_depth,
    powers_of_two,
    rollout_gap,
    summarize_gap,
    summarize_states,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from latentbench.metrics import Metric
    from latentbench.metrics.statistics import SpeakerTable
    from latentbench.results.schema import Split
    from latentbench.results.uncertainty import Estimate

__all__ = ["DEPTHS", "speaker_codes", "summarise_frames", "summarise_rollouts"]

ALL = "all"
GAP = ("nll_teacher", "nll_rollout")
# The first step, about a word and about a sentence of a 12.5 Hz encoder.
DEPTHS = (1, 8, 64)
# Figure at a depth -> what it is of the states.
STATES_AT = {
    "movement": "magnitude_ratio",
    "variance_ratio": "variance_ratio",
    "autocorrelation": "autocorrelation",
    "true_autocorrelation": "true_autocorrelation",
    "energy_distance": "energy_distance",
}


def summarise_frames(
    frames: Sequence[Path],
    metrics: Sequence[Metric],
    slices: Sequence[str],
    lacking: Mapping[str, str],
    by: str = "speaker",
) -> list[Figure]:
    """Compute every metric over every split and slice, as the mean over seeds.

    Args:
        frames: the `frames.parquet` of each seed; none where no frame was scored: n is then 0.
        metrics: those of the run.
        slices: `all`, or names with a column `slice_NAME`.
        lacking: metric -> why the predictor has no figure of it; empty where it has.
        by: of the split, `speaker` or `file`: what intervals are over.

    Raises:
        LatentbenchError: a column that a metric or slice needs is not in a table.
    """
    cells = [_Scores(file) for file in frames]
    figures = []
    for split in SPLITS:
        for slice_ in slices:
            for metric in metrics:
                blank = Figure(
                    split=split,
                    slice=slice_,
                    name=metric.name,
                    value=math.nan,
                    n=0,
                    unit=metric.unit,
                    better=metric.better,
                    nominal=metric.nominal,
                    interval_note=lacking[metric.name],
                )
                tables = [] if blank.interval_note else [one.table(metric, blank) for one in cells]
                figures.append(_figure(blank, [one for one in tables if one.frames], by))
    return figures


def summarise_rollouts(rollouts: Sequence[Path], by: str = "speaker") -> RolloutFigures:
    """Compute the rollout gap and life from the `rollout.parquet` of each seed; n = 0 of none.

    Gaps are means over seeds, which roll out the same utterances; frames add up.
    """
    cells = [_Rolled(file) for file in rollouts]
    n = sum(one.gap.size for one in cells)
    found = RolloutFigures(
        mode="mean" if all(one.scored for one in cells) else "sample",
        mean_gap=math.nan,
        median_gap=math.nan,
        n=n,
        non_finite=0,
        utterances=cells[0].utterances if cells else 0,
        depths=tuple(_gap_at(depth, cells) for depth in DEPTHS),
        **_lived(cells),
    )
    return found.model_copy(update=_gap_of(cells, by)) if n else found


def _gap_of(cells: Sequence[_Rolled], by: str) -> dict[str, Any]:
    """The gap over all frames, and its intervals over speakers."""
    mean, median = (
        estimate(SeedMean([one.table(statistic) for one in cells]))
        for statistic in (Mean("gap"), Quantile("gap"))
    )
    return {
        "mean_gap": mean.value,
        "median_gap": median.value,
        "non_finite": sum(int((~np.isfinite(one.gap)).sum()) for one in cells),
        "speakers": mean.speakers,
        "mean_interval": _gap_interval(mean, by),
        "median_interval": _gap_interval(median, by),
    }


def _lived(cells: Sequence[_Rolled]) -> dict[str, Any]:
    """Until when the frames of all seeds together stay alive, and how they end."""
    deepest = max((depth for one in cells for depth in one.parts), default=0)
    found = life(_seen(depth, cells) for depth in powers_of_two(deepest))
    if not found.known:
        return {}
    return {
        "stable_depth": found.until,
        "dead_at": found.death.depth if found.death else None,
        "ending": ending(found.death) if found.death else None,
    }


def _seen(depth: int, cells: Sequence[_Rolled]) -> CurvePoint:
    """The frames of all seeds at one depth."""
    parts = [one.parts[depth] for one in cells if one.told and depth in one.parts]
    if not parts:
        return CurvePoint(depth=depth)
    columns = {name: np.concatenate([one[name] for one in parts]) for name in STATE_COLUMNS}
    states = summarize_states(columns, 1.0)
    return CurvePoint(
        depth=depth,
        n=len(columns["change_norm"]),
        non_finite=sum(one.by_depth[depth].non_finite for one in cells if depth in one.by_depth),
        magnitude_ratio=states.magnitude_ratio,
        variance_ratio=states.variance_ratio,
    )


def _gap_at(depth: int, cells: Sequence[_Rolled]) -> DepthGap:
    """The gap and states at one depth, means over seeds; n = 0 where no utterance is so deep."""
    found = [one.by_depth[depth] for one in cells if depth in one.by_depth]
    count = len(found)
    return DepthGap(
        depth=depth,
        n=sum(len(one.parts[depth]["depth"]) for one in cells if depth in one.parts),
        median_gap=sum(one.median for one in found) / count if count else math.nan,
        mean_gap=sum(one.mean for one in found) / count if count else math.nan,
        non_finite=sum(one.non_finite for one in found),
        **_states_at(depth, cells),
    )


def _states_at(depth: int, cells: Sequence[_Rolled]) -> dict[str, float]:
    """How the frames made at one depth move and vary, means over seeds."""
    found = [vars(one.states[depth]) for one in cells if depth in one.states]
    return {
        name: sum(one[of] for one in found) / len(found) for name, of in STATES_AT.items() if found
    }


def _gap_interval(found: Estimate, by: str) -> GapInterval:
    low, high = known(found.low), known(found.high)
    return GapInterval(low=low, high=high, note=worded(found.note, by))


def speaker_codes(rows: pa.Table) -> tuple[NDArray[np.integer], list[str]]:
    """The speaker of each row as an index, and the names."""
    speaker = rows["speaker"].unify_dictionaries().combine_chunks()
    encoded = speaker if hasattr(speaker, "dictionary") else speaker.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()


def _figure(blank: Figure, tables: Sequence[SpeakerTable], by: str) -> Figure:
    """The figure of one table per seed; `blank` where there are none."""
    if not tables:
        return blank
    found = estimate(SeedMean(tables))
    return blank.model_copy(
        update={
            "value": found.value,
            "n": tables[0].frames,
            "low": known(found.low),
            "high": known(found.high),
            "speakers": found.speakers,
            "speaker_error": known(found.standard_error),
            "seed_error": known(seed_error(tables)),
            "interval_note": worded(found.note, by),
        }
    )


class _Scores:
    """The scores of one cell, read column by column as figures ask for them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._columns: dict[str, NDArray[np.generic]] = {}
        with reading(file, AGAIN):
            self._there = pq.read_schema(file).names
            self._speaker, self._names = speaker_codes(pq.read_table(file, columns=["speaker"]))
        self._masks: dict[tuple[Split, str], NDArray[np.bool_]] = {}

    def table(self, metric: Metric, of: Figure) -> SpeakerTable:
        """The speakers of the split and slice of a figure."""
        inside = self._mask(of.split, of.slice)
        columns = {name: self._column(name)[inside].astype(np.float64) for name in metric.columns}
        return metric.statistic.reduce(columns, self._speaker[inside], self._names)

    def _mask(self, split: Split, slice_: str) -> NDArray[np.bool_]:
        if (split, slice_) not in self._masks:
            inside = self._column("split") == split
            if slice_ != ALL:
                inside = inside & self._column(f"slice_{slice_}").astype(np.bool_)
            self._masks[split, slice_] = inside
        return self._masks[split, slice_]

    def _column(self, name: str) -> NDArray[np.generic]:
        if name not in self._there:
            raise LatentbenchError(
                f"'{self._file}' has no column {name}.",
                "Remove the folder of this cell and give the same command again.",
            )
        if name not in self._columns:
            with reading(self._file, AGAIN):
                column = pq.read_table(self._file, columns=[name])[name]
            self._columns[name] = column.to_numpy()
        return self._columns[name]


class _Rolled:
    """The rollout of one cell; without a gap where the predictor had no log-density."""

    def __init__(self, file: Path) -> None:
        with reading(file, AGAIN):
            there = set(pq.read_schema(file).names)
            self.scored = set(GAP) <= there
            self.told = set(STATE_COLUMNS) <= there  # not by older versions
            names = (*(GAP if self.scored else ()), *(STATE_COLUMNS if self.told else ()))
            rows = pq.read_table(file, columns=["utterance", "speaker", "depth", *names])
        columns = {name: rows[name].to_numpy() for name in ("depth", *names)}
        self.utterances = len(pc.unique(rows["utterance"]))
        self.gap = rollout_gap(columns) if self.scored else np.empty(0)
        self.parts = by_depth(columns)
        self.by_depth = {j: summarize_gap(part) for j, part in self.parts.items() if self.scored}
        self.states = {
            j: summarize_states(self.parts[j], 1.0) for j in DEPTHS if self.told and j in self.parts
        }
        self._speakers = speaker_codes(rows)

    def table(self, statistic: Mean | Quantile) -> SpeakerTable:
        """The speakers of a statistic of the column `gap`."""
        return statistic.reduce({"gap": self.gap}, *self._speakers)
