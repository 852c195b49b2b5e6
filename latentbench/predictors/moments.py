"""Mean and variance of targets too many to hold, in one pass and in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from latentbench.tasks import TaskFrames

__all__ = ["Moments", "target_moments"]

CHUNK_VALUES = 1 << 21


class Moments:
    """Running mean and sum of squared deviations of each dimension, float64 [D].

    Chunks are merged by their own means and deviations, never as E[x^2] - E[x]^2, so a large
    mean costs no digits (Chan, Golub & LeVeque 1983, eq. 2.1).
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._deviations = torch.zeros(dim, dtype=torch.float64)

    def update(self, values: torch.Tensor) -> None:
        """Take more rows, [N, D] of any floating dtype."""
        added = len(values)
        if not added:
            return
        values = values.to(torch.float64)
        mean = values.mean(0)
        shift = mean - self.mean
        total = self.count + added
        self._deviations += (values - mean).square().sum(0)
        self._deviations += shift.square() * (self.count * added / total)
        self.mean += shift * (added / total)
        self.count = total

    def variance(self) -> torch.Tensor:
        """The unbiased variance (n - 1) of each dimension, float64 [D]; nan below two rows."""
        divisor = float(self.count - 1) if self.count > 1 else float("nan")
        return self._deviations / divisor


def target_moments(frames: TaskFrames) -> Moments:
    """The moments of every target of `frames`, read in chunks of 16 MiB (float64)."""
    moments = Moments(frames.dim)
    chunk = max(1, CHUNK_VALUES // max(1, frames.dim))
    for start in range(0, len(frames), chunk):
        stop = min(start + chunk, len(frames))
        moments.update(frames.targets(np.arange(start, stop, dtype=np.int64)))
    return moments
