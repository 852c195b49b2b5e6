"""Per-speaker sums of one run at one horizon, read from its `frames.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.results import RunFolder
from latentbench.results.speaker_sums import STATISTICS, SeedMean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.comparison.runs import FinishedRun
    from latentbench.results.schema import HorizonResult
    from latentbench.results.speaker_sums import SpeakerTable

__all__ = ["CellTables", "read_tables"]


@dataclass(frozen=True)
class CellTables:
    """What all scored eval frames of one horizon come to.

    Attributes:
        figures: metric -> its sums per speaker, the mean over the seeds of the run.
        utterances: those that have a scored frame.
        problem: why there are none; empty where there are.
    """

    figures: dict[str, SpeakerTable]
    utterances: frozenset[str] = frozenset()
    problem: str = ""


def read_tables(run: FinishedRun, horizon: HorizonResult, names: Sequence[str]) -> CellTables:
    """The sums of those metrics at one horizon of a run.

    Metrics whose columns are not in the file are left out.
    """
    file = RunFolder(run.folder).frames_file
    per_seed: dict[str, list[SpeakerTable]] = {}
    utterances: frozenset[str] = frozenset()
    try:
        there = set(pq.read_schema(file).names)
        known = [name for name in names if there.issuperset(STATISTICS[name].columns)]
        for seed in horizon.seeds:
            rows = _rows(file, horizon.k, seed, known)
            utterances = frozenset(rows["utterance"].unique().to_pylist())
            speaker = rows["speaker"].cast(pa.string()).combine_chunks().dictionary_encode()
            codes, speakers = speaker.indices.to_numpy(), speaker.dictionary.to_pylist()
            for name in known:
                statistic = STATISTICS[name]
                columns = {
                    one: rows[one].to_numpy().astype(np.float64) for one in statistic.columns
                }
                per_seed.setdefault(name, []).append(statistic.reduce(columns, codes, speakers))
    except FileNotFoundError:
        return CellTables({}, problem=f"{run.label} has no {file.name} any more")
    except (OSError, KeyError, pa.ArrowException):
        return CellTables({}, problem=f"{file.name} of {run.label} cannot be read")
    return CellTables({name: SeedMean(found) for name, found in per_seed.items()}, utterances)


def _rows(file: Path, k: int, seed: int, names: Sequence[str]) -> pa.Table:
    columns = dict.fromkeys(column for name in names for column in STATISTICS[name].columns)
    return pq.read_table(
        file,
        columns=["speaker", "utterance", *columns],
        filters=[("split", "=", "eval"), ("horizon", "=", k), ("seed", "=", seed)],
    )
