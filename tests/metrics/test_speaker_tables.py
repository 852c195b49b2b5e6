"""Metrics without a statistic: computed anew from the frames of the speakers counted."""

import math

import numpy as np
import pytest

from latentbench.metrics.metric import Metric
from latentbench.metrics.speaker_sums import Mean
from latentbench.metrics.speaker_tables import Recomputed, speaker_table

NAMES = ("a", "b", "c", "d")
COLUMNS = {
    "y": np.random.default_rng(0).normal(size=200) + 3.0,
    "z": np.random.default_rng(1).exponential(size=200),
}
CODES = np.random.default_rng(2).choice([0, 1, 3], 200)  # "c" has no frame


class GeometricMean(Metric):
    """Of y z, which is no sum that latentbench knows."""

    name = "geometric"
    better = "higher"
    columns = {"y": None, "z": None}  # noqa: RUF012 - what a plugin author would write
    made = 0

    def __init__(self):
        type(self).made += 1
        self.logs = []

    def update(self, columns):
        self.logs.extend(np.log(columns["y"] * columns["z"]))

    def compute(self):
        return math.exp(math.fsum(self.logs) / len(self.logs)) if self.logs else math.nan


def test_counts_are_frames_written_out_that_often():
    table = speaker_table(GeometricMean, COLUMNS, CODES, NAMES)
    assert (table.speakers, table.frames, table.costly) == (("a", "b", "d"), 200, True)
    counts = np.array([[1, 1, 1], [0, 1, 1], [2, 0, 5], [0, 3, 0]], dtype=float)
    product = COLUMNS["y"] * COLUMNS["z"]
    for row, found in zip(counts, table.values(counts), strict=True):
        times = np.array([row[0], row[1], 0, row[2]])[CODES].astype(int)
        assert found == pytest.approx(np.exp(np.log(np.repeat(product, times)).mean()), rel=1e-12)
    assert math.isnan(table.values(np.zeros((1, 3)))[0])


def test_a_figure_known_is_not_computed_again():
    table = Recomputed(GeometricMean, COLUMNS, CODES, NAMES)
    GeometricMean.made = 0
    table.values(np.ones((3, 3)))
    table.values(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    assert GeometricMean.made == 2


def test_a_metric_with_a_statistic_is_reduced_to_its_sums():
    class OfMean(GeometricMean):
        statistic = Mean("y")

    table = speaker_table(OfMean, COLUMNS, CODES, NAMES)
    assert not table.costly
    assert table.values(np.ones((1, 3)))[0] == pytest.approx(COLUMNS["y"].mean(), rel=1e-12)


@pytest.mark.parametrize("weights", [[0.5, 1.0, 1.0], [-1.0, 1.0, 1.0]])
def test_frames_are_counted(weights):
    table = speaker_table(GeometricMean, COLUMNS, CODES, NAMES)
    with pytest.raises(ValueError, match="a whole number of times"):
        table.values(np.array([weights]))


def test_no_frames_are_no_speakers():
    nothing = {name: values[:0] for name, values in COLUMNS.items()}
    table = speaker_table(GeometricMean, nothing, CODES[:0], NAMES)
    assert (table.speakers, table.frames) == ((), 0)
    assert math.isnan(table.values(np.ones((1, 0)))[0])
