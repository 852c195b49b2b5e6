"""The contract of a world: a stationary process, and what its optimal predictor scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Target", "Truth", "World"]

Target = Literal["delta", "x"]


@dataclass(frozen=True)
class Truth:
    """What the optimal predictor scores at one horizon, in the limit of endless data.

    Likelihoods are in nats per frame. The direction and magnitude figures are those of the
    metrics of the same names; None where the mean of the optimal density is 0 throughout, so
    that its logarithm is the metric's floor and no property of the world.

    Attributes:
        nll: of the exact conditional density.
        nll_diagonal: of the exact conditional mean with the best constant diagonal covariance.
        nll_unconditional: of the exact density of the target without any context.
        nll_baseline: of the diagonal Gaussian with the target's mean and variances.
        direction_cos: expected cosine between target and conditional mean.
        logmag_r2: mean-squared form of the log-magnitude R².
        logmag_r2_var: variance form.
        numerical_error: bound on the error of the likelihoods, from halving the steps of the
            integration; 0 for closed forms.
    """

    nll: float
    nll_diagonal: float
    nll_unconditional: float
    nll_baseline: float
    direction_cos: float
    logmag_r2: float | None
    logmag_r2_var: float
    numerical_error: float = 0.0

    @property
    def dnll(self) -> float:
        """What the exact conditional gains over the diagonal marginal: capacity + context."""
        return self.nll - self.nll_baseline

    @property
    def dnll_diagonal(self) -> float:
        """What the best diagonal Gaussian regression gains over the diagonal marginal."""
        return self.nll_diagonal - self.nll_baseline

    @property
    def capacity(self) -> float:
        """The part of `dnll` that needs no context, only a family wider than the baseline's."""
        return self.nll_unconditional - self.nll_baseline

    @property
    def context(self) -> float:
        """The part of `dnll` that is knowledge of the context: minus the mutual information.

        With the target `x` this is the x-target gain.
        """
        return self.nll - self.nll_unconditional


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
        """What the optimal predictor of the target from x_{t-k-W+1..t-k} scores."""

    @abstractmethod
    def inflation(self, horizon: int, context_frames: int) -> float:
        """Stationary variance of the perfect model's own lagged-delta rollout over the true one.

        x̂_t = x̂_{t-1} + Δ̂ with Δ̂ drawn from the exact density given x̂_{t-k-W+1..t-k}; inf where
        the rollout has no stationary state.
        """

    @abstractmethod
    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """The perfect model's rollout gap by the mean, nats per frame.

        The mean over t0..frames-1 of an utterance, as the instrument reports it (docs/rollout.md);
        None where it is not known in closed form.
        """
