import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.latents import Latents
from latentbench.predictors import moments as module
from latentbench.predictors.moments import lagged_products

CPU = torch.device("cpu")


def latents_of(rows):
    return Latents.from_arrays({"u": rows.astype(np.float32)}, {"u": "s"})


def naive(rows, targets, lags):
    """All lagged frames side by side, in float64."""
    values = rows.astype(np.float32).astype(np.float64)
    wide = np.stack([values[targets - lag] for lag in lags], 1).reshape(len(targets), -1)
    centred = wide - wide.mean(0)
    return wide.mean(0), centred.T @ centred


@settings(deadline=None, max_examples=60)
@given(
    targets=st.lists(st.integers(12, 59), min_size=1, max_size=60),
    lags=st.sets(st.integers(1, 12), max_size=6),
    chunk=st.sampled_from([3, 8, 1000]),
    in_runs=st.booleans(),
)
def test_equals_all_windows_side_by_side(targets, lags, chunk, in_runs):
    rows = np.random.default_rng(0).normal(5.0, 2.0, (60, 2))
    targets = np.array(sorted(set(targets)) if in_runs else targets)
    lags = [0, *sorted(lags)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_VALUES", chunk)
        found = lagged_products(latents_of(rows), targets, lags, CPU)
    means, scatter = naive(rows, targets, lags)
    size = 2 * len(lags)
    assert found.count == len(targets)
    np.testing.assert_allclose(found.means.flatten(), means, rtol=1e-12)
    np.testing.assert_allclose(found.scatter.reshape(size, size), scatter, rtol=0, atol=1e-10)


def test_a_large_offset_costs_no_digits():
    rows = np.random.default_rng(1).integers(0, 2, (300, 2)) + 1e6
    targets = np.arange(5, 300)
    found = lagged_products(latents_of(rows), targets, [0, 2, 5], CPU)
    _, scatter = naive(rows - 1e6, targets, [0, 2, 5])
    np.testing.assert_allclose(found.scatter.reshape(6, 6), scatter, rtol=0, atol=1e-9)
