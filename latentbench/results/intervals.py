"""Figures with their interval over speakers, and seeds and speakers apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from latentbench.files import reading
from latentbench.metrics.gap import rollout_gap
from latentbench.metrics.speaker_sums import Mean, Quantile, SeedMean
from latentbench.metrics.speaker_tables import speaker_table
from latentbench.results.schema import GapInterval
from latentbench.results.tables import AGAIN
from latentbench.results.uncertainty import estimate, variance_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from latentbench.metrics.speaker_sums import SpeakerTable
    from latentbench.results.schema import Figure, RolloutFigures
    from latentbench.results.summary import MetricMaker

__all__ = ["figure_tables", "speaker_codes", "with_gap_intervals", "with_intervals"]

ALL = "all"


def with_intervals(
    figures: Sequence[Figure], frames: Sequence[Path], makers: Sequence[MetricMaker]
) -> list[Figure]:
    """The figures of a horizon with their intervals, or why there is none.

    Args:
        figures: means over seeds.
        frames: the `frames.parquet` of each seed.
        makers: each gives a fresh metric; together those of the figures.
    """
    tables = figure_tables(figures, frames, makers)
    return [
        _with_interval(figure, found) if (found := tables.get(_key(figure))) else figure
        for figure in figures
    ]


def figure_tables(
    figures: Sequence[Figure], frames: Sequence[Path], makers: Sequence[MetricMaker]
) -> dict[tuple[str, str, str], list[SpeakerTable]]:
    """(split, slice, name) -> the table of that figure's speakers, one per seed."""
    of_name = {make().name: make for make in makers}
    known = [figure for figure in figures if figure.n]
    found: dict[tuple[str, str, str], list[SpeakerTable]] = {_key(one): [] for one in known}
    for file in frames:
        scores = _Scores(file)
        for figure in known:
            found[_key(figure)].append(scores.table(figure, of_name[figure.name]))
    return {key: tables for key, tables in found.items() if tables}


def with_gap_intervals(figures: RolloutFigures, rollouts: Sequence[Path]) -> RolloutFigures:
    """The rollout of a horizon with the intervals of its mean and median gap.

    Args:
        figures: the mean over seeds.
        rollouts: the `rollout.parquet` of each seed.
    """
    if not figures.n:
        return figures
    tables = [_gap_tables(file) for file in rollouts]
    mean, median = ([pair[which] for pair in tables] for which in (0, 1))
    return figures.model_copy(
        update={
            "speakers": len({speaker for table in mean for speaker in table.speakers}),
            "mean_interval": _gap_interval(mean),
            "median_interval": _gap_interval(median),
        }
    )


def _gap_tables(file: Path) -> tuple[SpeakerTable, SpeakerTable]:
    """Of the mean and of the median gap."""
    with reading(file, AGAIN):
        rows = pq.read_table(file, columns=["speaker", "nll_teacher", "nll_rollout"])
    codes, names = speaker_codes(rows)
    scores = {name: rows[name].to_numpy() for name in ("nll_teacher", "nll_rollout")}
    gap = {"gap": rollout_gap(scores)}
    return Mean("gap").reduce(gap, codes, names), Quantile("gap").reduce(gap, codes, names)


def _gap_interval(tables: Sequence[SpeakerTable]) -> GapInterval:
    found = estimate(SeedMean(tables))
    return GapInterval(low=_known(found.low), high=_known(found.high), note=found.note)


def speaker_codes(rows: pa.Table) -> tuple[NDArray[np.integer], list[str]]:
    """The speaker of each row as an index, and the names."""
    speaker = rows["speaker"].unify_dictionaries().combine_chunks()
    encoded = speaker if hasattr(speaker, "dictionary") else speaker.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()


def _key(figure: Figure) -> tuple[str, str, str]:
    return figure.split, figure.slice, figure.name


def _with_interval(figure: Figure, tables: Sequence[SpeakerTable]) -> Figure:
    interval = estimate(SeedMean(tables))
    parts = variance_parts(tables)
    return figure.model_copy(
        update={
            "low": _known(interval.low),
            "high": _known(interval.high),
            "speakers": interval.speakers,
            "speaker_error": _known(parts.speaker_error),
            "seed_error": _known(parts.seed_error),
            "interval_note": interval.note,
        }
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


class _Scores:
    """The scores of one cell, read column by column as figures ask for them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._columns: dict[str, NDArray[np.generic]] = {}
        with reading(file, AGAIN):
            self._speaker, self._names = speaker_codes(pq.read_table(file, columns=["speaker"]))
        self._masks: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def table(self, figure: Figure, make: MetricMaker) -> SpeakerTable:
        inside = self._mask(figure.split, figure.slice)
        columns = {name: self._column(name)[inside].astype(np.float64) for name in make().columns}
        return speaker_table(make, columns, self._speaker[inside], self._names)

    def _mask(self, split: str, slice_: str) -> NDArray[np.bool_]:
        if (split, slice_) not in self._masks:
            inside = self._column("split") == split
            if slice_ != ALL:
                inside = inside & self._column(f"slice_{slice_}").astype(np.bool_)
            self._masks[split, slice_] = inside
        return self._masks[split, slice_]

    def _column(self, name: str) -> NDArray[np.generic]:
        if name not in self._columns:
            column = pq.read_table(self._file, columns=[name])[name]
            self._columns[name] = column.to_numpy()
        return self._columns[name]
