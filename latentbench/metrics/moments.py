"""Means and sums of squares of a stream, in float64, merged batch by batch.

Any order and size of the batches gives the same figure to a few units of rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Mean", "SquaredDeviations"]


class Mean:
    """The mean of all values so far; an infinite value makes it infinite, nan makes it nan."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0

    def update(self, values: ArrayLike) -> None:
        """Take one more batch, [N]."""
        batch = np.asarray(values, dtype=np.float64)
        # Values near the largest double, or both infinities, have a sum that says so itself.
        with np.errstate(over="ignore", invalid="ignore"):
            self.total += float(batch.sum())
        self.count += batch.size

    def compute(self) -> float:
        """The mean; nan of no values."""
        return self.total / self.count if self.count else float("nan")


class SquaredDeviations:
    """The sum of squared deviations from the mean of all values so far.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1979), on values from
    which the first one seen is subtracted: a constant then has a sum of exactly 0.
    """

    def __init__(self) -> None:
        self.count = 0
        self._origin = 0.0
        self._mean = 0.0
        self._sum = 0.0

    def update(self, values: ArrayLike) -> None:
        """Take one more batch, [N]."""
        batch = np.asarray(values, dtype=np.float64)
        if not batch.size:
            return
        if not self.count:
            self._origin = float(batch[0])
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = batch - self._origin
            mean = float(shifted.mean())
            within = float(np.square(shifted - mean).sum())
        total = self.count + batch.size
        apart = mean - self._mean
        self._sum += within + apart * apart * (self.count * batch.size / total)
        self._mean += apart * (batch.size / total)
        self.count = total

    def compute(self) -> float:
        """The sum; nan of no values."""
        return self._sum if self.count else float("nan")
