r"""A hidden AR state seen through noise: \(z_t = F z_{t-1} + w_t,\ x_t = H z_t + v_t\).

x is ARMA(1, 1)-like and not Markov: every frame of the context counts.
"""

from __future__ import annotations

import numpy as np

from latentbench.worlds.gaussian import LinearGaussian
from latentbench.worlds.rotation import rotation

__all__ = ["state_space"]

FASTEST = 0.5  # eigenvalue of the fastest state, relative to that of the slowest


def state_space(dim: int, rho: float, noise: float, rotation_seed: int) -> LinearGaussian:
    """As many states as dimensions, of unit variance, mixed by a rotation.

    Args:
        dim: D.
        rho: autocorrelation of the slowest state; the others go down to half of it.
        noise: standard deviation of the observation noise.
        rotation_seed: of the mixing.
    """
    poles = rho * np.linspace(FASTEST, 1.0, dim)
    return LinearGaussian(
        transition=np.diag(poles),
        noise=np.diag(1 - poles**2),
        observation=rotation(dim, rotation_seed),
        observation_noise=noise**2 * np.eye(dim),
    )
