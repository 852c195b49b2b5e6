"""Figures by depth against numpy, one depth after the other."""

import numpy as np
import pytest

from latentbench.rollout.figures import (
    STATE_COLUMNS,
    by_depth,
    powers_of_two,
    summarize_states,
)


def state_by_depth(columns):
    return {j: summarize_states(part, 9.0) for j, part in by_depth(columns).items()}


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    found = {name: rng.gamma(2.0, size=60) for name in STATE_COLUMNS}
    found["change_cosine"] = rng.uniform(-1, 1, 60)
    found["depth"] = rng.integers(-1, 4, 60)
    return found


def test_each_depth_is_summed_up_alone(columns):
    found = state_by_depth(columns)
    assert list(found) == [-1, 0, 1, 2, 3]
    for j, summary in found.items():
        here = {name: values[columns["depth"] == j] for name, values in columns.items()}
        assert summary.state_error == pytest.approx(np.median(here["state_error"]) / 3)
        assert summary.cosine == pytest.approx(here["change_cosine"].mean())
        ratio = np.median(here["change_norm"] / here["true_change_norm"])
        assert summary.magnitude_ratio == pytest.approx(ratio)
        variance = here["deviation"].sum() / here["true_deviation"].sum()
        assert summary.variance_ratio == pytest.approx(variance)


def test_a_frame_that_left_the_numbers_spoils_the_variance_and_silence_divides_nothing(
    columns,
):
    (first, second, *_) = np.flatnonzero(columns["depth"] == 2)
    for name in ("state_error", "change_norm", "deviation"):
        columns[name][first] = np.inf
    columns["change_cosine"][first] = np.nan
    columns["true_change_norm"][second] = 0.0
    found = state_by_depth(columns)[2]
    assert np.isfinite([found.state_error, found.cosine, found.magnitude_ratio]).all()
    assert found.variance_ratio == np.inf


def test_nothing_finite_has_no_cosine(columns):
    columns["change_cosine"][:] = np.nan
    assert np.isnan(state_by_depth(columns)[1].cosine)


def test_no_frames_have_no_depths(columns):
    assert by_depth({name: values[:0] for name, values in columns.items()}) == {}


@pytest.mark.parametrize(
    ("deepest", "depths"), [(-3, []), (0, []), (1, [1]), (7, [1, 2, 4]), (8, [1, 2, 4, 8])]
)
def test_powers_of_two_up_to_the_deepest(deepest, depths):
    assert powers_of_two(deepest) == depths
