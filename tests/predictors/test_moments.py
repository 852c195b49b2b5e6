import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbench.predictors.moments import Moments


@given(cuts=st.lists(st.integers(0, 50), max_size=6), seed=st.integers(0, 1000))
def test_chunks_give_what_numpy_gives_for_all_rows(cuts, seed):
    rows = np.random.default_rng(seed).normal(3.0, 2.0, (50, 3))
    moments = Moments(3)
    edges = [0, *sorted(cuts), 50]
    for start, stop in itertools.pairwise(edges):
        moments.update(torch.from_numpy(rows[start:stop]))
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance(), rows.var(0, ddof=1), rtol=1e-12)


def test_a_large_mean_costs_no_digits():
    offset, count = 1e9, 1000
    moments = Moments(1)
    for start in range(0, count, 100):
        moments.update(torch.arange(start, start + 100, dtype=torch.float64)[:, None] + offset)
    np.testing.assert_allclose(moments.variance(), count * (count + 1) / 12, rtol=1e-12)


def test_one_row_has_no_variance():
    moments = Moments(2)
    moments.update(torch.ones(1, 2))
    assert moments.variance().isnan().all()
