r"""Linear-Gaussian worlds: all by linear algebra from the autocovariance (docs/calibration.md).

.. math:: z_t = F z_{t-1} + w_t, \quad x_t = H z_t + v_t, \quad
    \Gamma(h) = E[x_t x_{t-h}^T] = H F^h P H^T + [h = 0] R

With G the block-Toeplitz covariance of the context and C that of target and context, the
optimal predictor is \(N(C G^{-1} c, S_k)\), \(S_k = S - C G^{-1} C^T\).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from latentbench.worlds.pairs import Block, Component, score_pairs
from latentbench.worlds.rollouts import mean_rollout_gap, stationary_inflation
from latentbench.worlds.world import Truth, World

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["Conditional", "LinearGaussian"]

LOG_2PI_E = math.log(2 * math.pi * math.e)


@dataclass(frozen=True, eq=False)
class Conditional:
    """The optimal predictor of one copy: N(gain c, residual).

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


@dataclass(frozen=True, eq=False)
class LinearGaussian(World):
    """`copies` independent copies of one linear-Gaussian process in R^d; D = copies * d.

    Attributes:
        transition: F [n, n], of spectral radius below 1.
        noise: Q [n, n], covariance of w.
        observation: H [d, n].
        observation_noise: R [d, d], covariance of v.
        copies: how many; copy c holds the dimensions c d .. (c + 1) d - 1.
        markov: x_t itself is Markov, so that only the newest frame of a context counts.
    """

    transition: NDArray[np.float64]
    noise: NDArray[np.float64]
    observation: NDArray[np.float64]
    observation_noise: NDArray[np.float64]
    copies: int = 1
    markov: bool = field(default=False)

    @property
    def width(self) -> int:
        """d, dimensions of one copy."""
        return len(self.observation)

    @property
    def dim(self) -> int:
        """D."""
        return self.copies * self.width

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

    def toeplitz(self, frames: int) -> NDArray[np.float64]:
        """Covariance of `frames` consecutive frames, oldest first, [frames d, frames d]."""
        gammas = {lag: self.autocovariance(lag) for lag in range(1 - frames, frames)}
        return np.block([[gammas[i - j] for j in range(frames)] for i in range(frames)])

    def target_variances(self, target: Target) -> NDArray[np.float64]:
        """The diagonal of Γ(0), or of 2 Γ(0) - Γ(1) - Γ(1)ᵀ, copy after copy, [D]."""
        return np.tile(np.diag(self._total(target)), self.copies)

    def conditional(self, horizon: int, context_frames: int, target: Target) -> Conditional:
        """The optimal predictor of one copy's target from its W frames k before."""
        seen = 1 if self.markov else context_frames
        lags = [horizon + seen - 1 - j for j in range(seen)]
        cross = np.hstack([self.autocovariance(lag) for lag in lags])
        total = self._total(target)
        if target == "delta":
            cross = cross - np.hstack([self.autocovariance(lag - 1) for lag in lags])
        newest = linalg.solve(self.toeplitz(seen), cross.T, assume_a="pos").T
        gain = np.zeros((self.width, context_frames * self.width))
        gain[:, -seen * self.width :] = newest
        explained = newest @ cross.T
        explained = (explained + explained.T) / 2
        return Conditional(gain, total - explained, total, explained)

    def _total(self, target: Target) -> NDArray[np.float64]:
        if target == "x":
            return self.autocovariance(0)
        lagged = self.autocovariance(1)
        return np.asarray(2 * self.autocovariance(0) - lagged - lagged.T)

    def truth(self, horizon: int, context_frames: int, target: Target) -> Truth:
        """Closed forms of the likelihoods; quadrature for direction and magnitude."""
        found = self.conditional(horizon, context_frames, target)
        # The conditional mean m and the target y = m + e have Cov(m, y) = Cov(m).
        joint = np.block([[found.explained, found.explained], [found.explained, found.total]])
        pair = Block(joint, np.zeros(2 * self.width), self.copies)
        scores = score_pairs([Component(1.0, (pair,))])
        return Truth(
            nll=self.copies * _entropy(found.residual),
            nll_diagonal=self.copies * _diagonal_entropy(found.residual),
            nll_unconditional=self.copies * _entropy(found.total),
            nll_baseline=self.copies * _diagonal_entropy(found.total),
            direction_cos=scores.direction_cos,
            logmag_r2=scores.logmag_r2,
            logmag_r2_var=scores.logmag_r2_var,
        )

    def inflation(self, horizon: int, context_frames: int) -> float:
        """By the Lyapunov equation of the rollout's companion form."""
        seen = 1 if self.markov else context_frames
        return stationary_inflation(self.conditional(horizon, seen, "delta"), self, horizon)

    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """By the recursion of the joint covariance of true and rolled-out frames."""
        found = self.conditional(horizon, context_frames, target)
        gaps = mean_rollout_gap(found, self, horizon, context_frames, target=target, frames=frames)
        return self.copies * float(gaps.mean()) if gaps.size else None

    def sample(self, sequences: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Stationary from the first frame on, [sequences, frames, D]."""
        count, size = sequences * self.copies, len(self.transition)
        drive, haze = _root(self.noise), _root(self.observation_noise)
        state = rng.standard_normal((count, size)) @ _root(self.state_covariance)
        found = np.empty((frames, count, self.width))
        for t in range(frames):
            if t:
                state = state @ self.transition.T + rng.standard_normal((count, size)) @ drive
            found[t] = state @ self.observation.T
        found += rng.standard_normal(found.shape) @ haze
        return np.asarray(found.reshape(frames, sequences, self.dim).transpose(1, 0, 2))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root; unlike Cholesky's, it is there for singular covariances."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(min=0))) @ vectors.T)


def _entropy(covariance: NDArray[np.float64]) -> float:
    return 0.5 * float(np.linalg.slogdet(covariance)[1]) + 0.5 * len(covariance) * LOG_2PI_E


def _diagonal_entropy(covariance: NDArray[np.float64]) -> float:
    return 0.5 * float(np.log(np.diag(covariance)).sum()) + 0.5 * len(covariance) * LOG_2PI_E
