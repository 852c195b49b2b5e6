r"""Independent frames \(x_t = \pm\mu + \varepsilon_t\): two peaks whose mean is where nothing is.

Across the axis of μ everything is Gaussian; along it densities are mixtures of shifted
Gaussians, whose entropy is a one-dimensional integral.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from latentbench.worlds.hidden import LOG_2PI_E, HiddenChain, Likelihoods

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["SignSymmetric", "sign_symmetric"]

POINTS = 4_000
REACH = 12.0  # standard deviations: exp(-72) is left beyond


@dataclass(frozen=True, eq=False)
class SignSymmetric(HiddenChain):
    """Two states of equal weight and variance 1 at +μ and -μ, without memory."""

    def likelihoods(self, horizon: int, context_frames: int, target: Target) -> Likelihoods:  # noqa: ARG002 - without memory, no frame of the context but x_{t-1} counts
        """By integration along the axis; the error is the change on halving the steps."""
        seen = target == "delta" and horizon == 1
        fine = [self._entropy(target, POINTS, previous_seen=one) for one in (seen, False)]
        coarse = [self._entropy(target, POINTS // 2, previous_seen=one) for one in (seen, False)]
        error = float(np.abs(np.subtract(fine, coarse)).max())
        return Likelihoods(fine[0], fine[1], error)

    def _entropy(self, target: Target, points: int, *, previous_seen: bool) -> float:
        pairs = self.pairs(target, previous_seen=previous_seen)
        variance = float(pairs.variances[0])
        along = pairs.means @ (self.means[0] / np.linalg.norm(self.means[0]))
        across = 0.5 * (self.dim - 1) * (np.log(variance) + LOG_2PI_E)
        return float(across) + _axis_entropy(along, variance, points)


def _axis_entropy(centres: NDArray[np.float64], variance: float, points: int) -> float:
    """Entropy of equally weighted Gaussians of one variance on a line, trapezoidal rule."""
    edge = np.abs(centres).max() + REACH * variance**0.5
    line, step = np.linspace(-edge, edge, points, retstep=True)
    exponents = -0.5 * (line[:, None] - centres) ** 2 / variance
    constant = 0.5 * np.log(2 * np.pi * variance) + np.log(len(centres))
    log_density = logsumexp(exponents, axis=1) - constant
    return float(-step * (np.exp(log_density) * log_density).sum())


def sign_symmetric(dim: int, distance: float) -> SignSymmetric:
    """Peaks `distance` standard deviations from the origin, on the diagonal of all dimensions."""
    mean = np.full(dim, distance / dim**0.5)
    return SignSymmetric(np.full((2, 2), 0.5), np.stack([mean, -mean]), np.ones(2))
