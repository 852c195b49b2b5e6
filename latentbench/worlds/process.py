r"""Linear-Gaussian processes: optimal predictor and rollouts by linear algebra.

.. math:: z_t = F z_{t-1} + w_t, \quad x_t = H z_t + v_t, \quad
    \Gamma(h) = E[x_t x_{t-h}^T] = H F^h P H^T + [h = 0] R

With G the block-Toeplitz covariance of the context and C that of target and context, the
optimal predictor is \(N(C G^{-1} c, S_k)\), \(S_k = S - C G^{-1} C^T\). Its rollout
\(\hat x_t = a \hat x_{t-1} + C G^{-1} \hat c_t (+ e_t)\), a = 1 for the target `delta` and 0 for
`x`, is a linear recursion, so its covariances are too (docs/rollout.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["Conditional", "LinearProcess"]


@dataclass(frozen=True, eq=False)
class Conditional:
    """The optimal predictor N(gain c, residual).

    Attributes:
        gain: [d, W d], for the context flattened oldest frame first.
        residual: S_k [d, d].
        total: covariance S of the target [d, d].
        explained: covariance of the conditional mean, S - S_k [d, d].
    """

    gain: NDArray[np.float64]
    residual: NDArray[np.float64]
    total: NDArray[np.float64]
    explained: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProcess:
    """A stationary process of frames x_t in R^d.

    Attributes:
        transition: F [n, n], of spectral radius below 1.
        noise: Q [n, n], covariance of w.
        observation: H [d, n].
        observation_noise: R [d, d], covariance of v.
        markov: x_t itself is Markov, so that only the newest frame of a context counts.
    """

    transition: NDArray[np.float64]
    noise: NDArray[np.float64]
    observation: NDArray[np.float64]
    observation_noise: NDArray[np.float64]
    markov: bool = False

    @property
    def width(self) -> int:
        """Dimensions of a frame, d."""
        return len(self.observation)

    @cached_property
    def state_covariance(self) -> NDArray[np.float64]:
        """P = F P Fᵀ + Q, of the stationary z."""
        found = linalg.solve_discrete_lyapunov(self.transition, self.noise)
        return np.asarray((found + found.T) / 2)

    def autocovariance(self, lag: int) -> NDArray[np.float64]:
        """Γ(lag) = E[x_t x_{t-lag}ᵀ], [d, d], for any sign of `lag`."""
        if lag < 0:
            return np.asarray(self.autocovariance(-lag).T)
        power = np.linalg.matrix_power(self.transition, lag)
        gamma = self.observation @ power @ self.state_covariance @ self.observation.T
        return np.asarray(gamma + self.observation_noise if lag == 0 else gamma)

    def covariance(self, target: Target) -> NDArray[np.float64]:
        """S = Γ(0), or 2 Γ(0) - Γ(1) - Γ(1)ᵀ of a delta, [d, d]."""
        if target == "x":
            return self.autocovariance(0)
        lagged = self.autocovariance(1)
        return np.asarray(2 * self.autocovariance(0) - lagged - lagged.T)

    def toeplitz(self, frames: int) -> NDArray[np.float64]:
        """Covariance of `frames` consecutive frames, oldest first, [frames d, frames d]."""
        gammas = {lag: self.autocovariance(lag) for lag in range(1 - frames, frames)}
        return np.block([[gammas[i - j] for j in range(frames)] for i in range(frames)])

    def conditional(self, horizon: int, context_frames: int, target: Target) -> Conditional:
        """The optimal predictor of the target from its W frames k before."""
        seen = self._seen(context_frames)
        lags = [horizon + seen - 1 - j for j in range(seen)]
        cross = np.hstack([self.autocovariance(lag) for lag in lags])
        total = self.covariance(target)
        if target == "delta":
            cross = cross - np.hstack([self.autocovariance(lag - 1) for lag in lags])
        newest = linalg.solve(self.toeplitz(seen), cross.T, assume_a="pos").T
        gain = np.zeros((self.width, context_frames * self.width))
        gain[:, -seen * self.width :] = newest
        explained = newest @ cross.T
        explained = (explained + explained.T) / 2
        return Conditional(gain, total - explained, total, explained)

    def inflation(self, horizon: int, context_frames: int) -> float:
        """The ratio tr Cov(x̂) / tr Cov(x) of the sampled lagged-delta rollout, in the limit.

        By a Lyapunov equation; inf where there is no stationary state, because the companion
        matrix has an eigenvalue on or outside the unit circle.
        """
        step, drive = self._sampled_rollout(horizon, context_frames)
        if np.abs(np.linalg.eigvals(step)).max() >= 1.0:
            return float("inf")
        return self._inflation_of(linalg.solve_discrete_lyapunov(step, drive))

    def inflation_by_depth(
        self, horizon: int, context_frames: int, depths: int
    ) -> NDArray[np.float64]:
        """The ratio tr Cov(x̂_{t0+n}) / tr Cov(x) of the sampled lagged-delta rollout, [depths]."""
        step, drive = self._sampled_rollout(horizon, context_frames)
        frames, width = len(step) // self.width, self.width
        newest_first = np.arange(len(step)).reshape(frames, width)[::-1].ravel()
        covariance = self.toeplitz(frames)[np.ix_(newest_first, newest_first)]
        ratios = np.empty(depths)
        for n in range(depths):
            covariance = step @ covariance @ step.T + drive
            ratios[n] = self._inflation_of(covariance)
        return ratios

    def mean_rollout_gaps(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> NDArray[np.float64]:
        """Expected gap of frames t0..frames-1 when rolled out by the mean, nats.

        Every rolled-out frame is a linear map of the true ones, and so is the error e_t of the
        target that is predicted from them: -ln p exceeds the teacher-forced one by
        ½ tr S_k⁻¹ Cov(e_t) - d/2.
        """
        found, width = self.conditional(horizon, context_frames, target), self.width
        keep = float(target == "delta")
        known = np.eye(frames * width).reshape(frames, width, -1)
        rolled, first = known.copy(), context_frames - 1 + horizon
        errors = np.empty((max(frames - first, 0), *known.shape[1:]))
        for n, t in enumerate(range(first, frames)):
            context = rolled[t - horizon - context_frames + 1 : t - horizon + 1]
            mean = found.gain @ context.reshape(-1, frames * width)
            rolled[t] = keep * rolled[t - 1] + mean
            errors[n] = known[t] - keep * known[t - 1] - mean
        # tr S_k⁻¹ E G Eᵀ, the covariance by one product for all frames.
        beside = (errors.reshape(-1, frames * width) @ self.toeplitz(frames)).reshape(errors.shape)
        spread = np.einsum("ij,njs,nis->n", np.linalg.inv(found.residual), beside, errors)
        return np.asarray(0.5 * (spread - width))

    def _seen(self, context_frames: int) -> int:
        return 1 if self.markov else context_frames

    def _sampled_rollout(
        self, horizon: int, context_frames: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The step (x̂_{t-1}, x̂_{t-2}, ...) to (x̂_t, x̂_{t-1}, ...), and the covariance it adds."""
        seen, width = self._seen(context_frames), self.width
        found = self.conditional(horizon, seen, "delta")
        step = np.eye((horizon - 1 + seen) * width, k=-width)
        step[:width, :width] = np.eye(width)
        newest_first = found.gain.reshape(width, seen, width)[:, ::-1].reshape(width, -1)
        step[:width, (horizon - 1) * width :] += newest_first
        drive = np.zeros_like(step)
        drive[:width, :width] = found.residual
        return step, drive

    def _inflation_of(self, covariance: NDArray[np.float64]) -> float:
        """Of the newest of the frames whose covariance is given."""
        newest = np.trace(covariance[: self.width, : self.width])
        return float(newest / np.trace(self.autocovariance(0)))
