r"""Worlds driven by a hidden Markov chain: \(x_t \mid z_t = j \sim N(\mu_j, v_j I)\).

Given the chain, frames are independent. So the optimal predictor is a forward filter over the
context and a mixture of diagonal Gaussians: over z_t, or over (z_{t-1}, z_t) for a delta whose
x_{t-1} is not in the context.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latentbench.worlds.pairs import Block, Component, PairScores, score_pairs
from latentbench.worlds.world import Truth, World

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["HiddenChain", "Likelihoods"]

LOG_2PI_E = math.log(2 * math.pi * math.e)


@dataclass(frozen=True)
class Likelihoods:
    """Expected NLL with and without the context, and a bound on the numerical error of both."""

    conditional: float
    unconditional: float
    error: float


@dataclass(frozen=True, eq=False)
class HiddenChain(World):
    """Gaussian frames around the means of a stationary chain, with E[x_t | z_{t-1}] = 0.

    Attributes:
        transition: [J, J], row j the distribution after state j.
        means: [J, D].
        variances: [J], of every dimension.
    """

    transition: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    @property
    def dim(self) -> int:
        """D."""
        return int(self.means.shape[1])

    @cached_property
    def stationary(self) -> NDArray[np.float64]:
        """The distribution of z_t, [J]: left eigenvector of the transition."""
        states = len(self.transition)
        equations = np.vstack([self.transition.T - np.eye(states), np.ones(states)])
        right = np.append(np.zeros(states), 1.0)
        return np.asarray(np.linalg.lstsq(equations, right, rcond=None)[0])

    @property
    def memoryless(self) -> bool:
        """The state says nothing about the next: frames are independent."""
        return bool(np.allclose(self.transition, self.transition[0], rtol=0, atol=1e-15))

    @abstractmethod
    def likelihoods(self, horizon: int, context_frames: int, target: Target) -> Likelihoods:
        """The expected NLL of the optimal predictors, by integration."""

    def truth(self, horizon: int, context_frames: int, target: Target) -> Truth:
        """Integrals over the norm or the axis of the means; see the worlds."""
        found = self.likelihoods(horizon, context_frames, target)
        frame, total = self.target_variances("x"), self.target_variances(target)
        seen = target == "delta" and horizon == 1  # then x_{t-1} is in the context
        scores = self._previous_frame_scores() if seen else PairScores(0.0, None, 0.0)
        return Truth(
            nll=found.conditional,
            nll_diagonal=_diagonal_entropy(frame if seen else total),
            nll_unconditional=found.unconditional,
            nll_baseline=_diagonal_entropy(total),
            direction_cos=scores.direction_cos,
            logmag_r2=scores.logmag_r2,
            logmag_r2_var=scores.logmag_r2_var,
            numerical_error=found.error,
        )

    def target_variances(self, target: Target) -> NDArray[np.float64]:
        """Frames do not correlate, so a delta has twice the variance of a frame."""
        frame = self.stationary @ (self.variances[:, None] + self.means**2)
        return np.asarray(2 * frame if target == "delta" else frame)

    def inflation(self, horizon: int, context_frames: int) -> float:  # noqa: ARG002 - the contract's signature
        """1 at k = 1, where x̂_t is a draw of x_t; beyond, deltas are added without end."""
        return 1.0 if horizon == 1 else float("inf")

    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """0 where the density does not depend on the context; otherwise not known."""
        rolled = frames > context_frames - 1 + horizon
        ignores = self.memoryless and (target == "x" or horizon > 1)
        return 0.0 if ignores and rolled else None

    def sample(self, sequences: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The chain from its stationary distribution, then the frames, [sequences, frames, D]."""
        cumulated = np.cumsum(self.transition, axis=1)
        uniform = rng.random((frames, sequences, 1))
        states = np.empty((frames, sequences), dtype=np.intp)
        states[0] = self._drawn(uniform[0], np.cumsum(self.stationary))
        for t in range(1, frames):
            states[t] = self._drawn(uniform[t], cumulated[states[t - 1]])
        states = states.T
        noise = rng.standard_normal((sequences, frames, self.dim))
        drawn = self.means[states] + np.sqrt(self.variances)[states][..., None] * noise
        return np.asarray(drawn)

    def pairs(self, target: Target, *, previous_seen: bool) -> Pairs:
        """The target given (z_{t-1}, z_t), and given x_{t-1} too where that is in the context."""
        states = len(self.transition)
        before, after = (index.ravel() for index in np.indices((states, states)))
        means, variances = self.means[after], self.variances[after]
        if target == "delta" and not previous_seen:
            means = means - self.means[before]
            variances = variances + self.variances[before]
        return Pairs(before, after, means, variances)

    @property
    def stationary_pairs(self) -> NDArray[np.float64]:
        """P(z_{t-1}, z_t), [J²]."""
        return np.asarray((self.stationary[:, None] * self.transition).ravel())

    def pair_weights(self, predicted: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
        """P(z_{t-1}, z_t | context) [..., J²] from P(z_{t-k+1} | context) [..., J].

        At k = 1 that is P(z_t | context); z_{t-1} then no longer matters, and its share is
        given to every value alike.
        """
        states = len(self.transition)
        if horizon == 1:
            return np.tile(predicted, states) / states
        before = predicted @ np.linalg.matrix_power(self.transition, horizon - 2)
        joint = before[..., None] * self.transition
        return np.asarray(joint.reshape(*predicted.shape[:-1], states * states))

    @staticmethod
    def _drawn(uniform: NDArray[np.float64], cumulated: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.asarray((uniform > cumulated[..., :-1]).sum(-1))

    def _previous_frame_scores(self) -> PairScores:
        """Of the mean -x_{t-1} for the target x_t - x_{t-1}.

        It is the optimal mean where E[x_t | past] = 0, as in every world built on this.
        """
        components = []
        for i, weight in enumerate(self.stationary):
            for j, chance in enumerate(self.transition[i]):
                first, second = self.variances[i], self.variances[j]
                covariance = np.array([[first, first], [first, first + second]])
                blocks = self._axis_blocks(
                    covariance, -self.means[i], self.means[j] - self.means[i]
                )
                components.append(Component(float(weight * chance), blocks))
        return score_pairs(components)

    def _axis_blocks(
        self,
        covariance: NDArray[np.float64],
        predicted: NDArray[np.float64],
        target: NDArray[np.float64],
    ) -> tuple[Block, ...]:
        """Isotropic dimensions: the means turned into one axis, which all of them share."""
        length = float(np.linalg.norm(self.means[0]))
        if length == 0.0:
            return (Block(covariance, np.zeros(2), self.dim),)
        axis = self.means[0] / length
        along = Block(covariance, np.array([predicted @ axis, target @ axis]))
        return (along, Block(covariance, np.zeros(2), self.dim - 1)) if self.dim > 1 else (along,)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Gaussians of the target for each pair of states (i, j), flattened to [J²].

    Attributes:
        before: i of each.
        after: j of each.
        means: [J², D]; of x_t where x_{t-1} is known.
        variances: [J²].
    """

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]


def _diagonal_entropy(variances: NDArray[np.float64]) -> float:
    return 0.5 * float((np.log(variances) + LOG_2PI_E).sum())
