"""The gap at a few depths, as the default tables show it."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentbench.results.summary import DEPTHS, summarise_rollouts


def columns_of(utterances, frames, seed=0):
    depth = np.tile(np.arange(-1, frames - 1), utterances)
    rng = np.random.default_rng(seed)
    return {
        "depth": depth,
        "nll_teacher": np.ones(len(depth)),
        "nll_rollout": 1 + rng.gamma(2.0, size=len(depth)),
    }


@pytest.fixture
def depths_of(tmp_path):
    def depths(*cells):
        files = [tmp_path / f"{number}.parquet" for number in range(len(cells))]
        for file, columns in zip(files, cells, strict=True):
            names = np.repeat(["a", "b", "c"], -(-len(columns["depth"]) // 3))
            who = pa.array(names[: len(columns["depth"])]).dictionary_encode()
            pq.write_table(pa.table({"utterance": who, "speaker": who, **columns}), file)
        return summarise_rollouts(files).depths

    return depths


def test_each_depth_alone(depths_of):
    columns = columns_of(7, 30)
    first, later, never = depths_of(columns)
    assert (first.depth, later.depth, never.depth) == DEPTHS == (1, 8, 64)
    for one in (first, later):
        here = columns["nll_rollout"][columns["depth"] == one.depth] - 1
        assert (one.n, one.non_finite) == (7, 0)
        assert one.median_gap == pytest.approx(np.median(here))
        assert one.mean_gap == pytest.approx(here.mean())
    assert (never.n, never.non_finite) == (0, 0)
    assert math.isnan(never.median_gap)


def test_one_frame_that_is_not_finite_spoils_the_mean_alone(depths_of):
    columns = columns_of(7, 30)
    columns["nll_rollout"][np.flatnonzero(columns["depth"] == 8)[2]] = np.inf
    first, later, _ = depths_of(columns)
    assert (first.non_finite, later.non_finite) == (0, 1)
    assert later.mean_gap == math.inf
    assert math.isfinite(later.median_gap)


def test_seeds_are_averaged_and_what_is_not_finite_adds_up(depths_of):
    seeds = [columns_of(7, 30, seed) for seed in (0, 1)]
    for columns in seeds:
        columns["nll_rollout"][columns["depth"] == 8] = np.inf
    both = depths_of(*seeds)
    medians = [depths_of(columns)[0].median_gap for columns in seeds]
    assert both[0].median_gap == pytest.approx(np.mean(medians))
    assert (both[0].n, both[1].non_finite, both[1].mean_gap) == (14, 14, math.inf)
