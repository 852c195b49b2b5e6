"""The speakers of one run at one horizon, read from its `frames.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.files import DamagedFileError, reading
from latentbench.metrics.statistics import SeedMean
from latentbench.results import RunFolder
from latentbench.results.tables import AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latentbench.comparison.runs import FinishedRun
    from latentbench.metrics import Metric
    from latentbench.metrics.statistics import SpeakerTable
    from latentbench.results.schema import HorizonResult

__all__ = ["CellTables", "read_tables"]


@dataclass(frozen=True)
class CellTables:
    """What all scored eval frames of one horizon come to.

    Attributes:
        figures: metric -> the table of its speakers, the mean over the seeds of the run.
        utterances: those that have a scored frame.
        problem: why there are none; empty where there are.
    """

    figures: dict[str, SpeakerTable]
    utterances: frozenset[str] = frozenset()
    problem: str = ""


def read_tables(
    run: FinishedRun, horizon: HorizonResult, metrics: Mapping[str, Metric]
) -> CellTables:
    """The tables of those metrics at one horizon of a run.

    Metrics whose columns are not in the file are left out.

    Args:
        run: the run.
        horizon: of it.
        metrics: by name.
    """
    file = RunFolder(run.folder).frames_file
    per_seed: dict[str, list[SpeakerTable]] = {}
    utterances: frozenset[str] = frozenset()
    if not file.exists():
        return CellTables({}, problem=f"{run.label} has no {file.name} any more")
    reads = {name: tuple(metric.columns) for name, metric in metrics.items()}
    try:
        for rows in _rows_of_seeds(file, horizon, {one for read in reads.values() for one in read}):
            utterances = frozenset(rows["utterance"].unique().to_pylist())
            speaker = rows["speaker"].cast(pa.string()).combine_chunks().dictionary_encode()
            codes, speakers = speaker.indices.to_numpy(), speaker.dictionary.to_pylist()
            for name, read in reads.items():
                if set(read) <= set(rows.column_names):
                    columns = {one: rows[one].to_numpy().astype(np.float64) for one in read}
                    table = metrics[name].statistic.reduce(columns, codes, speakers)
                    per_seed.setdefault(name, []).append(table)
    except DamagedFileError:
        return CellTables({}, problem=f"{file.name} of {run.label} cannot be read")
    return CellTables({name: SeedMean(found) for name, found in per_seed.items()}, utterances)


def _rows_of_seeds(file: Path, horizon: HorizonResult, columns: set[str]) -> Iterator[pa.Table]:
    """The scored eval frames of each seed, those of the columns that are there."""
    with reading(file, AGAIN):
        there = sorted(columns & set(pq.read_schema(file).names))
        for seed in horizon.seeds:
            yield pq.read_table(
                file,
                columns=["speaker", "utterance", *there],
                filters=[("split", "=", "eval"), ("horizon", "=", horizon.k), ("seed", "=", seed)],
            )
