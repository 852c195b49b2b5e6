"""One Gaussian of full covariance fitted on all training targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.predictors.gaussian import (
    SharedGaussian,
    positive_definite_factor,
    require_finite,
    require_frames,
)
from latentbench.predictors.lagged_products import lagged_products
from latentbench.predictors.lookback import taps
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MarginalFullOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["FullMarginal"]

MIN_FRAMES = 2


class FullMarginal(Predictor):
    """p(target) as one Gaussian of full covariance, whatever the context.

    Mean and covariance (n - 1) are over every training target, in float64. Constant, repeated
    and unseen directions (fewer frames than dimensions) would make the density unbounded: they
    are widened by the rule of `positive_definite_factor`, and that is said.

    Args:
        options: of the plugin.
        context_frames: W; not looked at.
        dim: D.
    """

    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, options: MarginalFullOptions, *, context_frames: int, dim: int) -> None:
        super().__init__()
        self.context_frames = context_frames
        self.dim = dim
        self.options = options
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
