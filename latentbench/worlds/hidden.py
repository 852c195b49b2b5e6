r"""Worlds driven by a hidden Markov chain: \(x_t \mid z_t = j \sim N(\mu_j, v_j I)\).

Given the chain, frames are independent. So the optimal predictor is a forward filter over the
context and a mixture of diagonal Gaussians: over z_t, or over (z_{t-1}, z_t) for a delta whose
x_{t-1} is not in the context.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import logsumexp

from latentbench.worlds.norms import Block, PairScores, mean_norm, score_pairs
from latentbench.worlds.world import LOG_2PI_E, Truth, World, diagonal_entropy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["HiddenChain", "OfBelief", "Pairs", "SignSymmetric", "sign_symmetric"]

# Of a belief about the next state, [N, J] -> [N].
OfBelief: TypeAlias = "Callable[[NDArray[np.float64]], NDArray[np.float64]]"

LINE_POINTS = 4_000
REACH = 12.0  # standard deviations: exp(-72) is left beyond


@dataclass(frozen=True, eq=False)
class Pairs:
    """Gaussians of the target for each pair of states (z_{t-1}, z_t), flattened to [J²].

    Attributes:
        means: [J², D]; of x_t where x_{t-1} is known.
        variances: [J²], of every dimension.
    """

    means: NDArray[np.float64]
    variances: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HiddenChain(World):
    """Gaussian frames around the means of a stationary chain, whose mean is 0.

    Attributes:
        transition: [J, J], row j the distribution after state j.
        means: [J, D].
        variances: [J], of every dimension.
        refinement: factor on the number of points of every integral.
    """

    transition: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    refinement: float = 1.0

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
    def stationary_pairs(self) -> NDArray[np.float64]:
        """P(z_{t-1}, z_t), [J²]."""
        return np.asarray((self.stationary[:, None] * self.transition).ravel())

    @property
    def memoryless(self) -> bool:
        """The state says nothing about the next: frames are independent."""
        return bool(np.allclose(self.transition, self.transition[0], rtol=0, atol=1e-15))

    def pairs(self, target: Target, *, previous_seen: bool) -> Pairs:
        """The target given (z_{t-1}, z_t), and given x_{t-1} too where that is in the context."""
        states = len(self.transition)
        before, after = (index.ravel() for index in np.indices((states, states)))
        means, variances = self.means[after], self.variances[after]
        if target == "delta" and not previous_seen:
            means = means - self.means[before]
            variances = variances + self.variances[before]
        return Pairs(means, variances)

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

    @abstractmethod
    def entropy(self, weights: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
        """Of the mixture of `pairs` under each row of weights, [N, J²] -> [N], in nats."""

    @abstractmethod
    def over_contexts(self, value: OfBelief, context_frames: int) -> float:
        """Expectation of a value of P(z_{t-k+1} | context) over the contexts."""

    def peaks(self, target: Target) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights [M] and means [M, D] of the different components of the target's density."""
        pairs = self.pairs(target, previous_seen=False)
        means, which = np.unique(pairs.means, axis=0, return_inverse=True)
        return self.stationary_pairs @ np.eye(len(means))[which.ravel()], means

    def sample(self, sequences: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The chain from its stationary distribution, then the frames, [sequences, frames, D]."""
        cumulated = np.cumsum(self.transition, axis=1)
        uniform = rng.random((frames, sequences, 1))
        states = np.empty((frames, sequences), dtype=np.intp)
        states[0] = _drawn(uniform[0], np.cumsum(self.stationary))
        for t in range(1, frames):
            states[t] = _drawn(uniform[t], cumulated[states[t - 1]])
        states = states.T
        noise = rng.standard_normal((sequences, frames, self.dim))
        drawn = self.means[states] + np.sqrt(self.variances)[states][..., None] * noise
        return np.asarray(drawn)

    def target_variances(self, target: Target) -> NDArray[np.float64]:
        """Of the means of a pair of states, and of the noise, [D]."""
        pairs = self.pairs(target, previous_seen=False)
        return np.asarray(self.stationary_pairs @ (pairs.variances[:, None] + pairs.means**2))

    def truth(self, horizon: int, context_frames: int, target: Target) -> Truth:
        """By integration."""
        seen = _previous_seen(horizon, target)
        given, alone = (self.pairs(target, previous_seen=one) for one in (seen, False))

        def expected(score: Callable[[NDArray[np.float64], Pairs], NDArray[np.float64]]) -> float:
            return self.over_contexts(
                lambda belief: score(self.pair_weights(belief, horizon), given), context_frames
            )

        total, explained = self.target_variances(target), self._explained(horizon, target)
        unconditional = self.stationary_pairs[None]
        return Truth(
            nll=expected(self.entropy),
            nll_diagonal=diagonal_entropy(total - explained),
            nll_unconditional=float(self.entropy(unconditional, alone)[0]),
            nll_baseline=diagonal_entropy(total),
            energy_score=expected(self._energy),
            energy_score_unconditional=float(self._energy(unconditional, alone)[0]),
            variance_ratio=float(1 - explained.sum() / total.sum()),
        )

    def _explained(self, horizon: int, target: Target) -> NDArray[np.float64]:
        """Variance of the optimal mean, [D]: z_{t-k} is either seen or tells nothing of it."""
        expected = np.linalg.matrix_power(self.transition, horizon)
        if target == "delta":
            expected = expected - np.linalg.matrix_power(self.transition, horizon - 1)
        of_state = self.stationary @ (expected @ self.means) ** 2
        noise = self.stationary @ self.variances if _previous_seen(horizon, target) else 0.0
        return np.asarray(of_state + noise)

    def _energy(self, weights: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
        """½ E|y - y'|, the energy score of the mixture itself, [N, J²] -> [N]."""
        apart = np.square(pairs.means[:, None] - pairs.means).sum(-1)
        spread = pairs.variances[:, None] + pairs.variances
        distances = mean_norm(spread[..., None], apart[..., None], self.dim)
        return np.asarray(0.5 * ((weights @ distances) * weights).sum(-1))

    @property
    def _centred(self) -> bool:
        """E[x_t | z_{t-1}] = 0: the state tells nothing of the next frame's mean."""
        return not np.any(self.transition @ self.means)

    def direction(
        self,
        horizon: int,
        context_frames: int,  # noqa: ARG002 - no frame of the context but x_{t-1} counts
        target: Target,
    ) -> PairScores | None:
        """Where E[x_t | past] = 0: of the optimal mean -x_{t-1}, if that frame is seen, or 0."""
        if not self._centred:
            return None
        if not _previous_seen(horizon, target):
            return PairScores(0.0, None, 0.0)
        mixture = []
        for i, weight in enumerate(self.stationary):
            for j, chance in enumerate(self.transition[i]):
                first, second = self.variances[i], self.variances[j]
                covariance = np.array([[first, first], [first, first + second]])
                blocks = self._axis_blocks(
                    covariance, -self.means[i], self.means[j] - self.means[i]
                )
                mixture.append((float(weight * chance), blocks))
        return score_pairs(mixture)

    def _axis_blocks(
        self,
        covariance: NDArray[np.float64],
        predicted: NDArray[np.float64],
        target: NDArray[np.float64],
    ) -> list[Block]:
        """Isotropic dimensions: the means turned into one axis, which all of them share."""
        length = float(np.linalg.norm(self.means[0]))
        if length == 0.0:
            return [Block(covariance, np.zeros(2), self.dim)]
        axis = self.means[0] / length
        along = Block(covariance, np.array([predicted @ axis, target @ axis]))
        return [along, Block(covariance, np.zeros(2), self.dim - 1)] if self.dim > 1 else [along]

    def inflation(self, horizon: int, context_frames: int) -> float | None:  # noqa: ARG002 - the contract's signature
        """1 at k = 1, where x̂_t is a draw of x_t; beyond, centred deltas are added without end."""
        if horizon == 1:
            return 1.0
        return float("inf") if self._centred else None

    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """0 where the density does not depend on the context; otherwise not known."""
        rolled = frames > context_frames - 1 + horizon
        ignores = self.memoryless and not _previous_seen(horizon, target)
        return 0.0 if ignores and rolled else None


def _previous_seen(horizon: int, target: Target) -> bool:
    """The target is x_t - x_{t-1}, and x_{t-1} is in the context."""
    return target == "delta" and horizon == 1


def _drawn(uniform: NDArray[np.float64], cumulated: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray((uniform > cumulated[..., :-1]).sum(-1))


class SignSymmetric(HiddenChain):
    r"""Independent frames \(x_t = \pm\mu + \varepsilon_t\): two peaks, nothing at their mean.

    Across the axis of μ everything is Gaussian; along it densities are mixtures of shifted
    Gaussians, whose entropy is a one-dimensional integral.
    """

    def over_contexts(self, value: OfBelief, context_frames: int) -> float:  # noqa: ARG002 - without memory, no context counts
        """The state is ±μ with equal chances, whatever was before."""
        return float(value(self.stationary[None])[0])

    def entropy(self, weights: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
        """The trapezoidal rule along the axis; all variances are one."""
        variance = float(pairs.variances[0])
        across = 0.5 * (self.dim - 1) * (np.log(variance) + LOG_2PI_E)
        along = pairs.means @ (self.means[0] / np.linalg.norm(self.means[0]))
        edge = np.abs(along).max() + REACH * variance**0.5
        points = int(self.refinement * LINE_POINTS)
        line, step = np.linspace(-edge, edge, points, retstep=True)
        exponents = -0.5 * (line[:, None] - along) ** 2 / variance
        constant = 0.5 * np.log(2 * np.pi * variance)
        log_density = logsumexp(exponents, axis=-1, b=weights[:, None]) - constant
        return np.asarray(across - step * (np.exp(log_density) * log_density).sum(-1))


def sign_symmetric(dim: int, distance: float) -> SignSymmetric:
    """Peaks `distance` standard deviations from the origin, on the diagonal of all dimensions."""
    mean = np.full(dim, distance / dim**0.5)
    return SignSymmetric(np.full((2, 2), 0.5), np.stack([mean, -mean]), np.ones(2))
