"""The contract of a world: a stationary process, and what its optimal predictor scores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.norms import PairScores

__all__ = ["LOG_2PI_E", "Target", "Truth", "World", "diagonal_entropy"]

LOG_2PI_E = math.log(2 * math.pi * math.e)

Target = Literal["delta", "x"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the optimal predictor scores at one horizon, in the limit of endless data.

    Likelihoods are in nats per frame. Names are those of the figures of a run.

    Attributes:
        nll: of the exact conditional density.
        nll_diagonal: of the exact conditional mean with the best constant diagonal covariance.
        nll_unconditional: of the exact density of the target without any context.
        nll_baseline: of the diagonal Gaussian with the target's mean and variances.
        energy_score: of the exact conditional density, in units of the latents.
        energy_score_unconditional: of the exact density without any context.
        variance_ratio: share of the target's squares that is left around the conditional mean.
    """

    nll: float
    nll_diagonal: float
    nll_unconditional: float
    nll_baseline: float
    energy_score: float
    energy_score_unconditional: float
    variance_ratio: float

    @property
    def dnll(self) -> float:
        """What the exact conditional gains over the diagonal marginal: capacity + context."""
        return self.nll - self.nll_baseline

    @property
    def dnll_diagonal(self) -> float:
        """What the best diagonal Gaussian regression gains over the diagonal marginal."""
        return self.nll_diagonal - self.nll_baseline

    @property
    def dnll_capacity(self) -> float:
        """The part of `dnll` that needs no context, only a family wider than the baseline's."""
        return self.nll_unconditional - self.nll_baseline

    @property
    def dnll_context(self) -> float:
        """The part of `dnll` that is knowledge of the context: minus the mutual information.

        With the target `x` this is the x-target gain.
        """
        return self.nll - self.nll_unconditional

    @property
    def energy_skill(self) -> float:
        """How much of the energy score without context the context takes away."""
        return 1.0 - self.energy_score / self.energy_score_unconditional


class World(ABC):
    """A stationary process of latent frames x_t in R^D, an immutable description."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D."""

    @abstractmethod
    def sample(self, sequences: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw independent sequences from the stationary process, [sequences, frames, D]."""

    @abstractmethod
    def target_variances(self, target: Target) -> NDArray[np.float64]:
        """Variance of each dimension of the target, whose mean is 0, [D]."""

    @abstractmethod
    def truth(self, horizon: int, context_frames: int, target: Target) -> Truth:
        """Likelihoods of the optimal predictor of the target from x_{t-k-W+1..t-k}."""

    @abstractmethod
    def direction(self, horizon: int, context_frames: int, target: Target) -> PairScores | None:
        """Direction and magnitude of the optimal mean beside the target; None where not known."""

    @abstractmethod
    def inflation(self, horizon: int, context_frames: int) -> float | None:
        """Stationary variance of the perfect model's own lagged-delta rollout over the true one.

        x̂_t = x̂_{t-1} + Δ̂ with Δ̂ drawn from the exact density given x̂_{t-k-W+1..t-k}; inf where
        the rollout has no stationary state, None where it is not known.
        """

    @abstractmethod
    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """The perfect model's rollout gap by the mean, nats per frame.

        The mean over t0..frames-1 of an utterance, as the instrument reports it (docs/rollout.md);
        None where it is not known in closed form.
        """

    def figures(self, horizon: int, context_frames: int, target: Target) -> dict[str, float]:
        """Every figure that is known of the optimal predictor, by its name in a run."""
        truth = self.truth(horizon, context_frames, target)
        direction = self.direction(horizon, context_frames, target)
        known = {
            "nll": truth.nll,
            "nll_baseline": truth.nll_baseline,
            "dnll": truth.dnll,
            "dnll_capacity": truth.dnll_capacity,
            "dnll_context": truth.dnll_context,
            "gain": -truth.dnll_context,
            "energy_score": truth.energy_score,
            "energy_skill": truth.energy_skill,
            "spread_skill": 1.0,  # of every calibrated density
            "variance_ratio": truth.variance_ratio,
            "x_gain": self.truth(horizon, context_frames, "x").dnll,
            **({} if direction is None else vars(direction)),
        }
        return {name: value for name, value in known.items() if value is not None}


def diagonal_entropy(variances: NDArray[np.float64]) -> float:
    """Of a diagonal Gaussian, nats."""
    return 0.5 * float(np.log(variances).sum()) + 0.5 * len(variances) * LOG_2PI_E
