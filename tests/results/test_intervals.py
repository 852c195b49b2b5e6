"""Intervals of a run's figures: those of the statistics, read from the files of every seed."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from latentbench.results.assembly import metric_makers
from latentbench.results.intervals import with_intervals
from latentbench.results.summary import mean_over_seeds, summarise_frames


@pytest.fixture
def intervals(tmp_path, write_cell, config, registry):
    makers = metric_makers(config, registry)

    def make(seeds):
        figures, files = [], []
        for seed in seeds:
            write_cell(tmp_path / str(seed), 1, seed)
            files.append(tmp_path / str(seed) / "frames.parquet")
            figures.append(summarise_frames(files[-1], makers, ("all", "high_energy")))
        return with_intervals(mean_over_seeds(figures), files, makers), files

    return make


def test_the_value_is_kept_and_lies_in_its_interval(intervals):
    figures, _ = intervals([1])
    for figure in figures:
        assert figure.speakers == 3
        assert figure.low < figure.value < figure.high
        assert figure.seed_error is None


def test_with_three_speakers_the_interval_is_students(intervals):
    """value ± t(0.975, 2 degrees of freedom = 4.302653) times the jackknife error."""
    figures, (file,) = intervals([1])
    table = pq.read_table(file)
    inside = np.array(table["split"].to_pylist()) == "eval"
    nll = table["nll"].to_numpy()[inside]
    speaker = np.array(table["speaker"].to_pylist())[inside]
    without = [nll[speaker != one].mean() for one in ("s0", "s1", "s2")]
    error = np.sqrt(2 / 3 * np.sum((without - np.mean(without)) ** 2))
    (found,) = [f for f in figures if (f.split, f.slice, f.name) == ("eval", "all", "nll")]
    assert found.value == pytest.approx(nll.mean())
    assert found.low == pytest.approx(nll.mean() - 4.302653 * error, rel=1e-6)
    assert found.high == pytest.approx(nll.mean() + 4.302653 * error, rel=1e-6)


def test_several_seeds_have_an_error_of_their_own(intervals):
    figures, files = intervals([1, 2, 3])
    means = []
    for file in files:
        table = pq.read_table(file)
        inside = np.array(table["split"].to_pylist()) == "train"
        means.append(table["cosine"].to_numpy()[inside].mean())
    (found,) = [
        f for f in figures if (f.split, f.slice, f.name) == ("train", "all", "direction_cos")
    ]
    assert found.value == pytest.approx(np.mean(means))
    assert found.seed_error == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
