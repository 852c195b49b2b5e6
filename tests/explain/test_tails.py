import math

import numpy as np
import pytest
from scipy import stats

from latentbench.explain.tails import (
    in_spreads,
    median,
    spread_of,
    tail_share,
    trimmed_mean,
    worst_count,
)


@pytest.mark.parametrize(
    ("frames", "count"), [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (3_000, 3), (9_000, 9)]
)
def test_the_worst_frames_are_counted_upwards(frames, count):
    assert worst_count(frames) == count


def test_a_trimmed_mean_is_that_of_scipy_on_one_side():
    values = np.random.default_rng(0).standard_cauchy(10_000)
    assert trimmed_mean(values) == pytest.approx(stats.trim1(values, 1e-3).mean(), rel=1e-12)


def test_a_mean_carried_by_four_frames_is_told_so():
    values = np.full(4_000, 172.0)
    values[[5, 700, 701, 3_000]] = 5e7
    assert median(values) == 172.0
    assert trimmed_mean(values) == pytest.approx(172.0, rel=1e-12)
    assert tail_share(values) == pytest.approx(2e8 / (2e8 + 3_996 * 172.0), rel=1e-12)
    even = np.full(4_000, 172.0)
    assert tail_share(even) == pytest.approx(1e-3, rel=1e-12)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_frames_that_are_not_finite_are_the_worst(bad):
    values = np.append(np.ones(1_999), bad)
    assert trimmed_mean(values) == 1.0
    assert median(values) == 1.0
    assert tail_share(values) == 1.0
    most = np.append(np.ones(3), [bad] * 5)
    assert not math.isfinite(trimmed_mean(most))
    assert math.isnan(tail_share(most))
    assert not math.isfinite(median(most))


def test_a_share_above_one_says_that_the_others_are_below_zero():
    assert tail_share(np.array([5.0, -1.0, -1.0])) == pytest.approx(5 / 3)


def test_no_frames_and_nothing_to_share_are_nan():
    assert math.isnan(median([]))
    assert math.isnan(trimmed_mean([]))
    assert math.isnan(trimmed_mean([1.0]))
    assert math.isnan(tail_share([]))
    assert math.isnan(tail_share([1.0, -1.0]))


def test_medians_are_those_of_numpy():
    for n in (1, 2, 5, 1_000):
        values = np.random.default_rng(n).normal(size=n)
        assert median(values) == pytest.approx(np.median(values), rel=1e-15)


def test_a_spread_of_frames_that_agree_or_have_no_end_makes_what_is_off_infinitely_far():
    assert spread_of(np.full(9, np.inf)) == math.inf
    assert spread_of(np.full(9, 3.0)) == 0.0
    assert (in_spreads(1.0, 0.0), in_spreads(0.0, 0.0), in_spreads(3.0, 2.0)) == (math.inf, 0, 1.5)
    assert in_spreads(math.nan, 2.0) == math.inf
