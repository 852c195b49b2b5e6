r"""White noise, AR(1) and VAR(1): \(x_t = A x_{t-1} + \varepsilon_t\)."""

from __future__ import annotations

import numpy as np

from latentbench.worlds.gaussian import LinearGaussian
from latentbench.worlds.rotation import rotation

__all__ = ["ar1", "var", "white_noise"]

NOISE_RATIO = 4.0  # of the largest to the smallest variance of the innovations


def white_noise(dim: int) -> LinearGaussian:
    """Independent standard normal frames."""
    return ar1(dim, 0.0)


def ar1(dim: int, rho: float) -> LinearGaussian:
    """`dim` independent AR(1) processes of unit variance: A = rho I."""
    one = np.ones((1, 1))
    return LinearGaussian(
        transition=rho * one,
        noise=(1 - rho**2) * one,
        observation=one,
        observation_noise=0 * one,
        copies=dim,
        markov=True,
    )


def var(dim: int, fastest: float, slowest: float, rotation_seed: int) -> LinearGaussian:
    """A VAR(1) whose axes are those of no dimension.

    A is symmetric with eigenvalues spaced evenly from `fastest` to `slowest` along one random
    rotation, the innovations have variances from 1 to 4 along another: neither covariance nor
    residual is diagonal, and they do not commute.
    """
    turn, other = rotation(dim, rotation_seed), rotation(dim, rotation_seed + 1)
    return LinearGaussian(
        transition=(turn * np.linspace(fastest, slowest, dim)) @ turn.T,
        noise=(other * np.geomspace(1.0, NOISE_RATIO, dim)) @ other.T,
        observation=np.eye(dim),
        observation_noise=np.zeros((dim, dim)),
        markov=True,
    )
