"""The gap at a few depths, as the default tables show it."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentbench.results.summary import DEPTHS, summarise_rollouts
from latentbench.rollout.figures import STATE_COLUMNS


def columns_of(utterances, frames, seed=0):
    depth = np.tile(np.arange(-1, frames - 1), utterances)
    rng = np.random.default_rng(seed)
    return {
        "depth": depth,
        "nll_teacher": np.ones(len(depth)),
        "nll_rollout": 1 + rng.gamma(2.0, size=len(depth)),
    }


@pytest.fixture
def depths_of(summarised):
    return lambda *cells: summarised(*cells).depths


@pytest.fixture
def summarised(tmp_path):
    def summary(*cells):
        files = [tmp_path / f"{number}.parquet" for number in range(len(cells))]
        for file, columns in zip(files, cells, strict=True):
            names = np.repeat(["a", "b", "c"], -(-len(columns["depth"]) // 3))
            who = pa.array(names[: len(columns["depth"])]).dictionary_encode()
            pq.write_table(pa.table({"utterance": who, "speaker": who, **columns}), file)
        return summarise_rollouts(files)

    return summary


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


def states_of(ratios, utterances=3):
    """States at depths 1, 2, 3, ... that move and vary so much of what true ones do."""
    columns = {name: np.ones(len(ratios) * utterances) for name in STATE_COLUMNS}
    columns["depth"] = np.tile(np.arange(1, len(ratios) + 1), utterances)
    columns["change_norm"] = np.tile([moved for moved, _ in ratios], utterances)
    columns["deviation"] = np.tile([spread for _, spread in ratios], utterances)
    return columns


@pytest.mark.parametrize(
    ("dead", "ends"),
    [
        ((0.49, 1.0), "stands still"),
        ((2.01, 1.0), "shakes"),
        ((1.0, 0.49), "shrinks"),
        ((1.0, 2.01), "runs away"),
        ((1.0, np.inf), "runs away"),
    ],
)
def test_a_rollout_by_samples_lives_until_a_power_of_two_where_it_is_dead(summarised, dead, ends):
    alive = (0.51, 1.99)
    found = summarised(states_of([alive, alive, (0.0, 0.0), dead, alive]))  # 3 is not looked at
    assert (found.mode, found.n, found.utterances, found.depths[0].n) == ("sample", 0, 3, 3)
    assert (found.stable_depth, found.dead_at, found.ending) == (2, 4, ends)
    assert summarised(states_of([dead])).stable_depth == 0
    whole = summarised(states_of([alive] * 5))
    assert (whole.stable_depth, whole.dead_at, whole.ending) == (4, None, None)


def test_seeds_live_and_die_together(summarised):
    still, shaking = states_of([(0.4, 1.0)]), states_of([(1.2, 1.0)])
    assert summarised(still, shaking).stable_depth == 1  # a median of 0.8
    assert summarised(still, still).ending == "stands still"


def test_nothing_is_told_of_frames_without_states(summarised):
    found = summarised(columns_of(7, 30))
    assert (found.mode, found.stable_depth, found.ending) == ("mean", None, None)


def test_a_gap_that_is_not_finite_ends_it(summarised):
    columns = columns_of(3, 6) | {name: np.ones(18) for name in STATE_COLUMNS}
    assert summarised(columns).stable_depth == 4
    columns["nll_rollout"][np.flatnonzero(columns["depth"] == 2)[0]] = np.inf
    found = summarised(columns)
    assert (found.stable_depth, found.dead_at, found.ending) == (1, 2, "runs away")
