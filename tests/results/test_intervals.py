"""Intervals of a run's figures: those of the statistics, read from the files of every seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from latentbench.results.assembly import metrics_of
from latentbench.results.summary import summarise_frames, summarise_rollouts


@pytest.fixture
def intervals(tmp_path, write_cell, config, registry):
    metrics = metrics_of(config, registry)
    absent = dict.fromkeys((one.name for one in metrics), "")

    def make(seeds):
        files = [tmp_path / str(seed) / "frames.parquet" for seed in seeds]
        for seed, file in zip(seeds, files, strict=True):
            write_cell(file.parent, 1, seed)
        return summarise_frames(files, metrics, ("all", "high_energy"), absent), files

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


def rolled(file, of_speaker):
    """A rollout with these gaps, speaker by speaker."""
    gap = np.concatenate(list(of_speaker.values()))
    teacher = np.linspace(-1.0, 1.0, len(gap))
    speaker = np.repeat(list(of_speaker), [len(one) for one in of_speaker.values()])
    columns = {
        "utterance": pa.array(speaker).dictionary_encode(),
        "speaker": pa.array(speaker).dictionary_encode(),
        "depth": np.arange(len(gap)),
        "nll_teacher": teacher,
        "nll_rollout": teacher + gap,
    }
    pq.write_table(pa.table(columns), file)
    return summarise_rollouts([file])


def test_the_gap_of_a_rollout_has_intervals_over_speakers(tmp_path):
    rng = np.random.default_rng(0)
    gaps = {name: rng.exponential(1 + i, 30) for i, name in enumerate("abcd")}
    found = rolled(tmp_path / "rollout.parquet", gaps)
    assert found.speakers == 4
    for figure, value, interval in (
        (np.mean, found.mean_gap, found.mean_interval),
        (np.median, found.median_gap, found.median_interval),
    ):
        without = [figure(np.concatenate([gaps[s] for s in gaps if s != one])) for one in gaps]
        error = np.sqrt(3 / 4 * np.sum((without - np.mean(without)) ** 2))
        t = stats.t.ppf(0.975, 3)
        assert (interval.low, interval.high) == pytest.approx(
            (value - t * error, value + t * error)
        )
        assert interval.note == ""


def test_a_frame_without_end_leaves_the_median_its_interval(tmp_path):
    gaps = {name: np.append(np.arange(30.0) + i, np.inf) for i, name in enumerate("abcd")}
    found = rolled(tmp_path / "rollout.parquet", gaps)
    assert (found.mean_gap, found.mean_interval.low) == (np.inf, None)
    assert found.mean_interval.note == "not finite for some choice of speakers"
    assert found.median_interval.low < found.median_gap < found.median_interval.high


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
