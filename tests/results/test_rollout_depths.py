"""The gap at a few depths, as the default tables show it."""

import math

import numpy as np
import pytest

from latentbench.results.rollout_depths import DEPTHS, depth_gaps, mean_depth_gaps


def columns_of(utterances, frames, seed=0):
    depth = np.tile(np.arange(-1, frames - 1), utterances)
    rng = np.random.default_rng(seed)
    return {
        "depth": depth,
        "nll_teacher": np.ones(len(depth)),
        "nll_rollout": 1 + rng.gamma(2.0, size=len(depth)),
    }


def test_each_depth_alone():
    columns = columns_of(7, 30)
    first, later, never = depth_gaps(columns)
    assert (first.depth, later.depth, never.depth) == DEPTHS == (1, 8, 64)
    for one in (first, later):
        here = columns["nll_rollout"][columns["depth"] == one.depth] - 1
        assert (one.n, one.non_finite) == (7, 0)
        assert one.median_gap == pytest.approx(np.median(here))
        assert one.mean_gap == pytest.approx(here.mean())
    assert (never.n, never.non_finite) == (0, 0)
    assert math.isnan(never.median_gap)


def test_one_frame_that_is_not_finite_spoils_the_mean_alone():
    columns = columns_of(7, 30)
    columns["nll_rollout"][np.flatnonzero(columns["depth"] == 8)[2]] = np.inf
    first, later, _ = depth_gaps(columns)
    assert (first.non_finite, later.non_finite) == (0, 1)
    assert later.mean_gap == math.inf
    assert math.isfinite(later.median_gap)


def test_seeds_are_averaged_and_what_is_not_finite_adds_up():
    seeds = [columns_of(7, 30, seed) for seed in (0, 1)]
    for columns in seeds:
        columns["nll_rollout"][columns["depth"] == 8] = np.inf
    both = mean_depth_gaps([depth_gaps(columns) for columns in seeds])
    medians = [depth_gaps(columns)[0].median_gap for columns in seeds]
    assert both[0].median_gap == pytest.approx(np.mean(medians))
    assert (both[0].n, both[1].non_finite, both[1].mean_gap) == (14, 14, math.inf)
