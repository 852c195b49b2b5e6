"""Figures by depth against numpy, one depth after the other."""

import numpy as np
import pytest

from latentbench.metrics.curve import powers_of_two, state_by_depth


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    names = ("state_error", "change_norm", "true_change_norm", "deviation", "true_deviation")
    found = {name: rng.gamma(2.0, size=60) for name in names}
    found["change_cosine"] = rng.uniform(-1, 1, 60)
    found["depth"] = rng.integers(-1, 4, 60)
    return found


def test_each_depth_is_summed_up_alone(columns):
    found = state_by_depth(columns, 9.0)
    assert list(found) == [-1, 0, 1, 2, 3]
    for j, summary in found.items():
        here = {name: values[columns["depth"] == j] for name, values in columns.items()}
        assert summary.n == len(here["depth"])
        assert summary.non_finite == 0
        assert summary.error == pytest.approx(np.median(here["state_error"]) / 3)
        assert summary.cosine == pytest.approx(here["change_cosine"].mean())
        ratio = np.median(here["change_norm"] / here["true_change_norm"])
        assert summary.magnitude_ratio == pytest.approx(ratio)
        variance = here["deviation"].sum() / here["true_deviation"].sum()
        assert summary.variance_ratio == pytest.approx(variance)


def test_frames_that_left_the_numbers_are_counted_and_silence_divides_nothing(columns):
    (first, second, *_) = np.flatnonzero(columns["depth"] == 2)
    for name in ("state_error", "change_norm", "deviation"):
        columns[name][first] = np.inf
    columns["change_cosine"][first] = np.nan
    columns["true_change_norm"][second] = 0.0
    before, found = state_by_depth(columns, 9.0)[1], state_by_depth(columns, 9.0)[2]
    assert (before.non_finite, found.non_finite) == (0, 1)
    assert np.isfinite([found.error, found.cosine, found.magnitude_ratio]).all()
    assert found.variance_ratio == np.inf


def test_nothing_finite_has_no_cosine(columns):
    columns["change_cosine"][:] = np.nan
    assert np.isnan(state_by_depth(columns, 9.0)[1].cosine)


def test_no_frames_have_no_depths(columns):
    assert state_by_depth({name: values[:0] for name, values in columns.items()}, 9.0) == {}


@pytest.mark.parametrize(
    ("deepest", "depths"), [(-3, []), (0, []), (1, [1]), (7, [1, 2, 4]), (8, [1, 2, 4, 8])]
)
def test_powers_of_two_up_to_the_deepest(deepest, depths):
    assert powers_of_two(deepest) == depths
