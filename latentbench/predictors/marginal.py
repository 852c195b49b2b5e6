"""The baseline of Phase 1: one diagonal Gaussian fitted on all training targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.distributions import Distribution, constraints

from latentbench.errors import LatentbenchError
from latentbench.predictors.densities import Components
from latentbench.predictors.moments import target_moments
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MarginalOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["DiagonalGaussian", "Marginal"]

Shape: TypeAlias = "torch.Size | list[int] | tuple[int, ...]"

LOG_2PI = math.log(2.0 * math.pi)
MIN_FRAMES = 2


class DiagonalGaussian(Distribution):
    r"""The same diagonal Gaussian for every element of a batch.

    .. math:: \log p(x) = -\tfrac12 \sum_d \left[ (x_d - \mu_d)^2 / v_d + \ln 2 \pi v_d \right]

    `mean` and `sample` are float32, as targets are; `log_prob` computes and returns float64.

    Args:
        mean: float64 [D].
        variance: float64 [D], positive.
        batch_shape: of the contexts it answers for.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute
    support = constraints.real_vector

    def __init__(self, mean: torch.Tensor, variance: torch.Tensor, batch_shape: torch.Size) -> None:
        self._mean = mean
        self._variance = variance
        super().__init__(batch_shape, mean.shape, validate_args=False)

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float32."""
        return self._mean.float().expand(self._extended_shape())

    @property
    def components(self) -> Components:
        """Itself."""
        return Components.single(self.mean, self.variance.sqrt())

    @property
    def variance(self) -> torch.Tensor:
        """[B, D], float32."""
        return self._variance.float().expand(self._extended_shape())

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        squares = (value.double() - self._mean).square() / self._variance
        constant = self._variance.log().sum() + LOG_2PI * self._mean.numel()
        log_prob = -0.5 * (squares.sum(-1) + constant)
        return log_prob + log_prob.new_zeros(self.batch_shape)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=torch.float32, device=self._mean.device)
        return self._mean.float() + noise * self._variance.sqrt().float()


class Marginal(Predictor):
    """p(target) as one diagonal Gaussian, whatever the context.

    Mean and variance (n - 1, floored) are over every training target, in float64.

    Args:
        options: of the plugin.
        context_frames: W; not looked at.
        dim: D.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, options: MarginalOptions, *, context_frames: int, dim: int) -> None:
        super().__init__()
        self.context_frames = context_frames
        self.dim = dim
        self.floor = options.floor
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(dim, dtype=torch.float64))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take mean and variance of all training targets.

        Raises:
            LatentbenchError: fewer than two frames, or targets that are not finite.
        """
        moments = target_moments(train)
        if moments.count < MIN_FRAMES:
            raise LatentbenchError(
                f"The marginal at horizon {train.horizon} needs at least {MIN_FRAMES} training "
                f"frames and has {moments.count}.",
                "Use more or longer utterances, or a smaller horizon.",
            )
        variance = moments.variance()
        if not bool(variance.isfinite().all()):
            raise LatentbenchError(
                f"The training targets at horizon {train.horizon} hold values that are not finite.",
                "The latents are damaged or the encoder gave them so: remove the store with "
                "'latentbench cache' and encode again.",
            )
        self.to(training.device)
        self.mean.copy_(moments.mean)
        self.variance.copy_(variance.clamp_min(self.floor))

    def forward(self, context: torch.Tensor) -> DiagonalGaussian:
        """The fitted Gaussian with the batch shape of `context` [B, W, D]."""
        return DiagonalGaussian(self.mean, self.variance, context.shape[:-2])
