r"""Rollouts of the perfect linear-Gaussian model, exactly (docs/rollout.md).

The model's frames follow \(\hat x_t = a \hat x_{t-1} + K \hat c_t (+ e_t)\) with a = 1 for the
target `delta` and 0 for `x`: a linear recursion, so its covariances are too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.gaussian import Conditional, LinearGaussian
    from latentbench.worlds.world import Target

__all__ = ["inflation_by_depth", "mean_rollout_gap", "stationary_inflation"]


def stationary_inflation(found: Conditional, world: LinearGaussian, horizon: int) -> float:
    """The ratio tr Cov(x̂) / tr Cov(x) of the sampled lagged-delta rollout in its stationary state.

    inf where there is none: the companion matrix has an eigenvalue on or outside the circle.
    """
    width = world.width
    step = _companion(found.gain, width, horizon, keep=1.0)
    if np.abs(np.linalg.eigvals(step)).max() >= 1.0:
        return float("inf")
    drive = np.zeros_like(step)
    drive[:width, :width] = found.residual
    covariance = linalg.solve_discrete_lyapunov(step, drive)
    return float(np.trace(covariance[:width, :width]) / np.trace(world.autocovariance(0)))


def inflation_by_depth(
    world: LinearGaussian, horizon: int, context_frames: int, depths: int
) -> NDArray[np.float64]:
    """The ratio tr Cov(x̂_{t0+n}) / tr Cov(x) of the sampled lagged-delta rollout, [depths]."""
    found, width = world.conditional(horizon, context_frames, "delta"), world.width
    step = _companion(found.gain, width, horizon, keep=1.0)
    # Newest first, as the companion has them.
    covariance = _newest_first(world.toeplitz(len(step) // width), width)
    true = np.trace(world.autocovariance(0))
    ratios = np.empty(depths)
    for n in range(depths):
        covariance = step @ covariance @ step.T
        covariance[:width, :width] += found.residual
        ratios[n] = np.trace(covariance[:width, :width]) / true
    return ratios


def mean_rollout_gap(
    found: Conditional,
    world: LinearGaussian,
    horizon: int,
    context_frames: int,
    *,
    target: Target,
    frames: int,
) -> NDArray[np.float64]:
    """Expected gap of frames t0..frames-1 of one copy rolled out by the mean, nats.

    E[-ln p(y_t | ĉ_t)] minus the teacher-forced one is ½ tr S_k⁻¹ Cov(y_t - K ĉ_t) - d/2; the
    covariance of the true state, the last true frames and the model's is carried along.
    """
    width, size = world.width, len(world.transition)
    keep = 1.0 if target == "delta" else 0.0
    rolled = _companion(found.gain, width, horizon, keep)
    history = len(rolled)  # of the frames of either, stacked newest first
    t0 = context_frames - 1 + horizon
    joint = size + 2 * history
    true_at, model_at = slice(size, size + history), slice(size + history, joint)
    step = np.zeros((joint, joint))
    step[:size, :size] = world.transition
    step[true_at, true_at] = np.eye(history, k=-width)
    step[size : size + width, :size] = world.observation @ world.transition
    step[model_at, model_at] = rolled
    drive = np.zeros((joint, joint))
    into = np.vstack([np.eye(size), world.observation])
    drive[: size + width, : size + width] = into @ world.noise @ into.T
    drive[size : size + width, size : size + width] += world.observation_noise
    covariance = _true_start(world, history // width)
    # y_t - ŷ_t, read off the newest two frames of either.
    error = np.zeros((width, joint))
    for at, sign in ((size, 1.0), (size + history, -1.0)):
        error[:, at : at + width] = sign * np.eye(width)
        if keep:
            error[:, at + width : at + 2 * width] = -sign * np.eye(width)
    precision = np.linalg.inv(found.residual)
    gaps = np.empty(max(frames - t0, 0))
    for n in range(len(gaps)):
        covariance = step @ covariance @ step.T + drive
        spread = np.trace(precision @ error @ covariance @ error.T)
        gaps[n] = 0.5 * (spread - width)
    return gaps


def _companion(
    gain: NDArray[np.float64], width: int, horizon: int, keep: float
) -> NDArray[np.float64]:
    """The step of (x̂_{t-1}, x̂_{t-2}, ...) to (x̂_t, x̂_{t-1}, ...), at least two frames long."""
    frames = max(horizon - 1 + gain.shape[1] // width, 2)
    step = np.eye(frames * width, k=-width)
    step[:width, :width] = keep * np.eye(width)
    for j in range(gain.shape[1] // width):
        lag = horizon - 1 + gain.shape[1] // width - 1 - j
        block = gain[:, j * width : (j + 1) * width]
        step[:width, lag * width : (lag + 1) * width] += block
    return step


def _true_start(world: LinearGaussian, frames: int) -> NDArray[np.float64]:
    """Covariance of (z_t, true frames, model's frames) while the model's are the true ones."""
    covariance = world.state_covariance
    # E[z_t x_{t-h}ᵀ] = F^h P Hᵀ.
    powers = [np.linalg.matrix_power(world.transition, lag) for lag in range(frames)]
    cross = np.hstack([power @ covariance @ world.observation.T for power in powers])
    within = _newest_first(world.toeplitz(frames), world.width)
    return np.block(
        [[covariance, cross, cross], [cross.T, within, within], [cross.T, within, within]]
    )


def _newest_first(covariance: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    frames = len(covariance) // width
    order = np.arange(len(covariance)).reshape(frames, width)[::-1].ravel()
    return covariance[np.ix_(order, order)]
