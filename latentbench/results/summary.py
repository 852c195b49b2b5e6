"""Figures from the tables of a cell: every metric over every split and slice.

The tables are read in batches and accumulated in float64, so a run of any length is summed up
in little memory, and a new metric over stored columns needs no new run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from latentbench.errors import LatentbenchError
from latentbench.files import reading
from latentbench.metrics.gap import summarize_gap
from latentbench.results.rollout_depths import depth_gaps
from latentbench.results.schema import SPLITS, Figure, RolloutFigures
from latentbench.results.tables import AGAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from latentbench.metrics import Metric
    from latentbench.results.schema import Split

    MetricMaker = Callable[[], Metric]

__all__ = ["mean_over_seeds", "summarise_frames", "summarise_rollout"]

ALL = "all"
ROWS = 65_536


def summarise_frames(
    frames: Path | None, makers: Sequence[MetricMaker], slices: Sequence[str]
) -> list[Figure]:
    """Every metric over every split and slice of a `frames.parquet`.

    Args:
        frames: the table; None where no frame was scored: every figure then has n = 0.
        makers: each gives a fresh metric.
        slices: `all`, or names with a column `slice_NAME`.

    Raises:
        LatentbenchError: a column that a metric or slice needs is not in the table.
    """
    tallies = [
        _Tally(split, slice_, [make() for make in makers]) for split in SPLITS for slice_ in slices
    ]
    if frames is not None:
        _read(frames, tallies)
    return [figure for tally in tallies for figure in tally.figures()]


def summarise_rollout(rollout: Path | None) -> RolloutFigures:
    """The rollout gap over a `rollout.parquet`; n = 0 where it is None or empty."""
    columns: dict[str, NDArray[np.float64]] = {
        "nll_teacher": np.empty(0),
        "nll_rollout": np.empty(0),
        "depth": np.empty(0),
    }
    utterances = 0
    if rollout is not None:
        with reading(rollout, AGAIN):
            table = pq.read_table(rollout, columns=["utterance", *columns])
        columns = {name: table[name].to_numpy() for name in columns}
        utterances = len(pc.unique(table["utterance"]))
    gap = summarize_gap(columns)
    return RolloutFigures(
        mean_gap=gap.mean,
        median_gap=gap.median,
        n=gap.n,
        non_finite=gap.non_finite,
        utterances=utterances,
        depths=depth_gaps(columns),
    )


def mean_over_seeds(per_seed: Sequence[Sequence[Figure]]) -> list[Figure]:
    """The same figures of several seeds as one: the mean of each, n as of one seed."""
    return [
        same[0].model_copy(update={"value": sum(one.value for one in same) / len(same)})
        for same in zip(*per_seed, strict=True)
    ]


class _Tally:
    """All metrics over one split and slice."""

    def __init__(self, split: Split, slice_: str, metrics: Sequence[Metric]) -> None:
        self.split = split
        self.slice = slice_
        self.metrics = metrics
        self.n = 0

    @property
    def mask_column(self) -> str | None:
        return None if self.slice == ALL else f"slice_{self.slice}"

    def update(self, rows: pa.RecordBatch, in_split: NDArray[np.bool_]) -> None:
        inside = in_split
        if self.mask_column is not None:
            inside = in_split & rows[self.mask_column].to_numpy(zero_copy_only=False)
        count = int(inside.sum())
        if not count:
            return
        self.n += count
        for metric in self.metrics:
            metric.update(
                {
                    name: rows[name].to_numpy(zero_copy_only=False)[inside].astype(np.float64)
                    for name in metric.columns
                }
            )

    def figures(self) -> list[Figure]:
        return [
            Figure(
                split=self.split,
                slice=self.slice,
                name=metric.name,
                value=metric.compute() if self.n else math.nan,
                n=self.n,
                unit=metric.unit,
                better=metric.better,
                nominal=metric.nominal,
            )
            for metric in self.metrics
        ]


def _read(frames: Path, tallies: Sequence[_Tally]) -> None:
    columns = {"split"}
    for tally in tallies:
        columns.update(name for metric in tally.metrics for name in metric.columns)
        columns.update(filter(None, [tally.mask_column]))
    for rows in _batches(frames, sorted(columns)):
        of_split = {
            split: pc.equal(rows["split"], split).to_numpy(zero_copy_only=False) for split in SPLITS
        }
        for tally in tallies:
            tally.update(rows, of_split[tally.split])


def _batches(frames: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with reading(frames, AGAIN), pq.ParquetFile(frames) as file:
        if missing := set(columns) - set(file.schema_arrow.names):
            raise LatentbenchError(
                f"'{frames}' has no column {', '.join(sorted(missing))}.",
                "Remove the folder of this cell and give the same command again.",
            )
        yield from file.iter_batches(batch_size=ROWS, columns=columns)
