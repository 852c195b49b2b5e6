"""Metrics that are a mean of their columns."""

import math

import numpy as np
import pytest

from latentbench.metrics.mean import MeanMetric


def metric(*names):
    class Made(MeanMetric):
        name = "made"
        better = "lower"
        columns = dict.fromkeys(names)

    return Made(None)


def test_one_column_is_averaged_over_all_batches():
    one = metric("a")
    assert math.isnan(one.compute())
    one.update({"a": np.array([1.0, 2.0])})
    one.update({"a": np.empty(0)})
    one.update({"a": np.array([6.0], dtype=np.float32)})
    assert one.compute() == 3.0


def test_the_second_column_is_subtracted_and_two_infinities_have_no_difference():
    one = metric("a", "b")
    one.update({"a": np.array([1.0, 5.0]), "b": np.array([4.0, 0.0])})
    assert one.compute() == 1.0
    one.update({"a": np.array([np.inf]), "b": np.array([np.inf])})
    assert math.isnan(one.compute())


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_its_statistic_is_the_same_mean(names):
    columns = {name: np.random.default_rng(len(name)).normal(size=90) for name in names}
    one = metric(*names)
    one.update(columns)
    table = one.statistic.reduce(columns, np.arange(90) % 3, ["x", "y", "z"])
    assert table.values(np.ones((1, 3)))[0] == pytest.approx(one.compute(), rel=1e-12)


def test_a_third_column_is_refused():
    with pytest.raises(ValueError, match="one column, or two of which one is subtracted"):
        metric("a", "b", "c")
