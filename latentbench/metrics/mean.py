"""Metrics whose figure is a mean over frames: their columns say all there is to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentbench.metrics import moments, speaker_sums
from latentbench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MeanMetric"]


class MeanMetric(Metric):
    """The mean of one column, or of the first minus the second, frame by frame.

    A subclass has `name`, `better`, `columns`, and `unit` where there is one; its interval
    follows. One whose columns depend on its options sets them before `super().__init__(options)`.

    Args:
        options: of the plugin, kept as `self.options`.

    Raises:
        ValueError: there are more than two columns.
    """

    def __init__(self, options: Any) -> None:
        self.options = options
        column, *minus = self.columns
        if len(minus) > 1:
            raise ValueError("a MeanMetric has one column, or two of which one is subtracted")
        self.statistic = speaker_sums.Mean(column, *minus)
        self._mean = moments.Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of the columns, [N] each."""
        values, *minus = (np.asarray(columns[name], dtype=np.float64) for name in self.columns)
        for other in minus:
            # Where both are infinite the frame has no difference, and nan says so.
            with np.errstate(invalid="ignore"):
                values = values - other
        self._mean.update(values)

    def compute(self) -> float:
        """The mean; nan of no frames."""
        return self._mean.compute()
