"""The mixture density network of Phase 1 (Bishop 1994), and the same without information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from latentbench.errors import UsageError
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.predictor import Predictor
from latentbench.predictors.recycling_linear import RecyclingLinear
from latentbench.predictors.training import train
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MdnOptions, ShuffledContextOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["MixtureDensityNetwork", "ShuffledContextNetwork", "UnconditionalNetwork"]

INITIAL_LOG_SIGMA = -1.0

PLACES = 31  # bits of the hash


class MixtureDensityNetwork(Predictor):
    r"""A flattened context through two GELU layers to a mixture of K diagonal Gaussians.

    .. math::
        h = \mathrm{GELU}(A_2\, \mathrm{GELU}(A_1 c + b_1) + b_2), \quad
        \pi = \mathrm{softmax}(A_\pi h + b_\pi), \quad
        \mu = A_\mu h + b_\mu, \quad
        \log \sigma = \mathrm{clamp}(A_\sigma h + b_\sigma)

    Three separate heads; the bias of log sigma starts at -1, all else at PyTorch's default.
    Inputs and targets are raw, without dropout.

    Raises:
        UsageError: the bounds of log sigma are no interval.
    """

    def __init__(self, options: MdnOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        if not options.log_sigma_min < options.log_sigma_max:
            raise UsageError(
                f"predictor.log_sigma_min={options.log_sigma_min} is not below "
                f"predictor.log_sigma_max={options.log_sigma_max}.",
                "Phase 1 clamps log sigma to [-7, 2].",
            )
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


class UnconditionalNetwork(MixtureDensityNetwork):
    """The same network, trained in the same way, with zeros in place of every context.

    Its NLL minus that of `marginal` is the capacity part of ΔNLL: what a mixture gains over one
    Gaussian. The NLL of `mdn` minus this one is the context part.

    All rows have the same density, so the network is evaluated for one of them.
    """

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The one mixture, with the batch shape of `context` [B, W, D]."""
        one = super().forward(context.new_zeros(1, self.context_frames, self.dim))
        shape = (*context.shape[:-2], self.components)
        return DiagonalGaussianMixture(
            one.logits.expand(shape),
            one.component_means.expand(*shape, self.dim),
            one.component_log_sigmas.expand(*shape, self.dim),
        )


class ShuffledContextNetwork(MixtureDensityNetwork):
    """The same network, trained in the same way, with a training context chosen by chance.

    Contexts come from a reservoir of `reservoir` training frames drawn by the seed. In training
    every row gets a fresh one, which changes from step to step, so nothing can be memorised. In
    evaluation a row gets the one that a hash of its own true context selects: the same whatever
    the batch, order or split.

    What it measures: the network has all it has in `mdn`, inputs of the true distribution
    included, but what it is shown says nothing of the target. So no gain beyond `marginal-mdn`
    is possible, and what it loses against that is the price of ignoring an input. A gain
    beyond it means that targets leak on another way than through the context.
    """

    contexts: torch.Tensor

    def __init__(self, options: ShuffledContextOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.register_buffer("contexts", torch.zeros(options.reservoir, context_frames, dim))

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Draw the reservoir, then minimise the mean NLL of the training frames.

        Raises:
            LatentbenchError: there are no frames, or training diverged.
        """
        if len(train_frames):
            random = np.random.default_rng(training.seed)
            count = len(self.contexts)
            drawn = random.choice(len(train_frames), count, replace=count > len(train_frames))
            self.contexts.copy_(train_frames.batch(drawn).context)
        super().fit(train_frames, training)

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The mixture for another context in place of each of `context` [B, W, D]."""
        batch = context.shape[:-2]
        if self.training:
            chosen = torch.randint(len(self.contexts), batch, device=context.device)
        else:
            chosen = self.replacements(context)
        return super().forward(self.contexts[chosen])

    def replacements(self, context: torch.Tensor) -> torch.Tensor:
        """The place in the reservoir that each of `context` [B, W, D] is sent to, int64 [B]."""
        return hashed_rows(context.flatten(-2), PLACES) % len(self.contexts)
