"""The mixture density network of Phase 1 (Bishop 1994)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from latentbench.errors import UsageError
from latentbench.predictors.linear import RecyclingLinear
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.predictor import Predictor
from latentbench.predictors.training import train

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MdnOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["MixtureDensityNetwork"]

INITIAL_LOG_SIGMA = -1.0


class MixtureDensityNetwork(Predictor):
    r"""A flattened context through two GELU layers to a mixture of K diagonal Gaussians.

    .. math::
        h = \mathrm{GELU}(A_2\, \mathrm{GELU}(A_1 c + b_1) + b_2), \quad
        \pi = \mathrm{softmax}(A_\pi h + b_\pi), \quad
        \mu = A_\mu h + b_\mu, \quad
        \log \sigma = \mathrm{clamp}(A_\sigma h + b_\sigma)

    Three separate heads; the bias of log sigma starts at -1, all else at PyTorch's default.
    Inputs and targets are raw, without dropout.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.

    Raises:
        UsageError: the bounds of log sigma are no interval.
    """

    def __init__(self, options: MdnOptions, *, context_frames: int, dim: int) -> None:
        super().__init__()
        if not options.log_sigma_min < options.log_sigma_max:
            raise UsageError(
                f"predictor.log_sigma_min={options.log_sigma_min} is not below "
                f"predictor.log_sigma_max={options.log_sigma_max}.",
                "Phase 1 clamps log sigma to [-7, 2].",
            )
        self.context_frames = context_frames
        self.dim = dim
        self.components = options.components
        self.bounds = (options.log_sigma_min, options.log_sigma_max)
        self.hidden1 = RecyclingLinear(context_frames * dim, options.width)
        self.hidden2 = RecyclingLinear(options.width, options.width)
        self.logits = RecyclingLinear(options.width, options.components)
        self.means = RecyclingLinear(options.width, options.components * dim)
        self.log_sigmas = RecyclingLinear(options.width, options.components * dim)
        nn.init.constant_(self.log_sigmas.bias, INITIAL_LOG_SIGMA)

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Minimise the mean NLL of the training frames.

        Raises:
            LatentbenchError: there are no frames, or training diverged.
        """
        train(self, train_frames, training)

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The mixture of each context, [B, W, D]."""
        hidden = F.gelu(self.hidden1(context.flatten(-2)))
        hidden = F.gelu(self.hidden2(hidden))
        shape = (*context.shape[:-2], self.components, self.dim)
        return DiagonalGaussianMixture(
            self.logits(hidden),
            self.means(hidden).view(shape),
            self.log_sigmas(hidden).view(shape),
            self.bounds,
        )

    def extra_repr(self) -> str:
        """What the layers do not show; part of what a checkpoint must match."""
        return f"components={self.components}, log_sigma={self.bounds}"
