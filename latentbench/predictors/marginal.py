"""One Gaussian of all training targets: the baseline of Phase 1, and its full covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.predictors.gaussian import SharedGaussian, positive_definite_factor
from latentbench.predictors.moments import (
    lagged_products,
    require_finite,
    require_frames,
    taps,
    target_moments,
)
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MarginalFullOptions, MarginalOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["FullMarginal", "Marginal"]

MIN_FRAMES = 2


class Marginal(Predictor):
    """p(target) as one diagonal Gaussian, whatever the context.

    Mean and variance (n - 1, floored) are over every training target, in float64.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, options: MarginalOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.floor = options.floor
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(dim, dtype=torch.float64))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take mean and variance of all training targets.

        Raises:
            LatentbenchError: fewer than two frames, or targets that are not finite.
        """
        require_frames(train, MIN_FRAMES, "marginal")
        moments = target_moments(train)
        require_finite(moments.variance(), train)
        self.to(training.device)
        self.mean.copy_(moments.mean)
        self.variance.copy_(moments.variance().clamp_min(self.floor))

    def forward(self, context: torch.Tensor) -> SharedGaussian:
        """The fitted Gaussian with the batch shape of `context` [B, W, D]."""
        return SharedGaussian(self.mean.expand(*context.shape[:-2], -1), self.variance)


class FullMarginal(Predictor):
    """p(target) as one Gaussian of full covariance, whatever the context.

    Mean and covariance (n - 1) are over every training target, in float64. Constant, repeated
    and unseen directions (fewer frames than dimensions) would make the density unbounded: they
    are widened by the rule of `positive_definite_factor`, and that is said.
    """

    options: MarginalFullOptions
    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, options: MarginalFullOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("factor", torch.eye(dim, dtype=torch.float64))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take mean and covariance of all training targets.

        Raises:
            LatentbenchError: fewer than two frames, or frames that are not finite.
        """
        require_frames(train, MIN_FRAMES, "marginal-full")
        self.to(training.device)
        weights = taps(train)
        products = lagged_products(train.latents, train.rows, list(weights), training.device)
        require_finite(products.scatter, train)
        weight = products.means.new_tensor(list(weights.values()))
        scatter = torch.einsum("a,adbe,b->de", weight, products.scatter, weight)
        factor, widened = positive_definite_factor(
            scatter / (products.count - 1),
            floor=self.options.floor,
            eigenvalue_floor=self.options.eigenvalue_floor,
        )
        if widened:
            training.progress.say(
                f"marginal-full at k = {train.horizon}: {widened} of {self.dim} directions are "
                "degenerate and were widened."
            )
        self.mean.copy_(weight @ products.means)
        self.factor.copy_(factor)

    def forward(self, context: torch.Tensor) -> SharedGaussian:
        """The fitted Gaussian with the batch shape of `context` [B, W, D]."""
        return SharedGaussian(self.mean.expand(*context.shape[:-2], -1), self.factor)
