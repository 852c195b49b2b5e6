"""Heads that are one diagonal Gaussian, or mixtures anchored to the marginal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import nn

from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.neural.head import Head, soft_clamp
from latentbench.predictors.robust import MAX_LOG_SIGMA, AnchoredDensity, AnchoredLayers

if TYPE_CHECKING:
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = ["GaussianHead", "MixtureHead", "StudentHead"]


class GaussianHead(Head):
    """One Gaussian of diagonal covariance; sigma from `sigma_floor` to e^2 of the marginal's."""

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.mean = nn.Linear(width, dim)
        self.log_sigma = nn.Linear(width, dim)
        self.bounds = (math.log(options.sigma_floor), MAX_LOG_SIGMA)

    def forward(self, states: torch.Tensor) -> DiagonalGaussianMixture:
        """The Gaussian of each state, as a mixture of one."""
        log_sigma = soft_clamp(self.log_sigma(states), *self.bounds)
        return DiagonalGaussianMixture.single(self.mean(states), log_sigma)


class MixtureHead(Head, AnchoredLayers):
    """K diagonal Gaussians and the marginal, as in `mdn-robust`."""

    tails: ClassVar[Literal["gaussian", "student-t"]] = "gaussian"

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.add_layers(options, width=width, dim=dim, tails=self.tails)

    def forward(self, states: torch.Tensor) -> AnchoredDensity:
        """The mixture of each state; the marginal of z is N(0, I)."""
        return self.anchored(states)


class StudentHead(MixtureHead):
    """K multivariate Student-t distributions of learned nu >= 2, and the marginal."""

    tails = "student-t"
