"""A mixture density network that no context can make infinitely wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.anchored import AnchoredDensity
from latentbench.predictors.gaussian import require_finite, require_frames
from latentbench.predictors.linear import RecyclingLinear
from latentbench.predictors.lookback import chunks, seen
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.moments import Moments, target_moments
from latentbench.predictors.predictor import Predictor
from latentbench.predictors.student import StudentMixture
from latentbench.predictors.training import train

if TYPE_CHECKING:
    from latentbench.predictors.plugin import MdnRobustOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["RobustNetwork"]

MIN_FRAMES = 2

# Standardised targets have sigma 1; e^2 leaves room for frames seven times as loud.
MAX_LOG_SIGMA = 2.0

# The learned components must not start so far below the marginal that they get no gradient.
INITIAL_LOG_SIGMA = 0.0
INITIAL_GATE = -4.0

LEAST_DEGREES = 2.0
INITIAL_DEGREES = 8.0
MAX_LOG_DEGREES = 10.0


class RobustNetwork(Predictor):
    r"""The network of `mdn` on standardised frames, anchored to the fitted marginal.

    Contexts and targets are standardised by the means and standard deviations of the training
    frames (those of the targets as `marginal` fits them), the density with its exact Jacobian.
    Contexts are clipped to +-`clip`; values that are not finite are taken as the mean (nan) or
    the bound (infinite). The learned mixture has sigma >= `sigma_floor` of the marginal's, and
    `AnchoredDensity` adds the marginal itself with a learned weight of at least
    `marginal_weight`: every frame scores at most -ln `marginal_weight` nats (6.9) worse than
    under `marginal`, whatever its context.

    `tails=student-t` makes the learned components multivariate Student-t with one learned
    nu >= 2 each. `context_noise` is the standard deviation of Gaussian noise on standardised
    contexts, in training only.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.
    """

    context_mean: torch.Tensor
    context_scale: torch.Tensor
    target_mean: torch.Tensor
    target_scale: torch.Tensor

    def __init__(self, options: MdnRobustOptions, *, context_frames: int, dim: int) -> None:
        super().__init__()
        self.context_frames = context_frames
        self.dim = dim
        self.options = options
        self.bounds = (math.log(options.sigma_floor), MAX_LOG_SIGMA)
        self.hidden1 = RecyclingLinear(context_frames * dim, options.width)
        self.hidden2 = RecyclingLinear(options.width, options.width)
        self.logits = RecyclingLinear(options.width, options.components)
        self.means = RecyclingLinear(options.width, options.components * dim)
        self.log_sigmas = RecyclingLinear(options.width, options.components * dim)
        self.gate = RecyclingLinear(options.width, 1)
        nn.init.constant_(self.log_sigmas.bias, INITIAL_LOG_SIGMA)
        nn.init.constant_(self.gate.bias, INITIAL_GATE)
        if options.tails == "student-t":
            start = math.log(INITIAL_DEGREES - LEAST_DEGREES)
            self.log_degrees = nn.Parameter(torch.full((options.components,), start))
        for name in ("context", "target"):
            self.register_buffer(f"{name}_mean", torch.zeros(dim, dtype=torch.float64))
            self.register_buffer(f"{name}_scale", torch.ones(dim, dtype=torch.float64))

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Standardise by the training frames, then minimise their mean NLL.

        Raises:
            LatentbenchError: fewer than two frames, frames that are not finite, or training
                diverged.
        """
        require_frames(train_frames, MIN_FRAMES, "mdn-robust")
        target, context = target_moments(train_frames), _context_moments(train_frames)
        for moments in (target, context):
            require_finite(moments.variance(), train_frames)
        self.target_mean.copy_(target.mean)
        self.target_scale.copy_(target.variance().clamp_min(self.options.floor).sqrt())
        self.context_mean.copy_(context.mean)
        spread = context.variance().sqrt()
        self.context_scale.copy_(torch.where(spread > 0, spread, 1.0))
        train(self, train_frames, training)

    @property
    def degrees(self) -> torch.Tensor:
        """Nu of each Student-t component, [K]."""
        return LEAST_DEGREES + self.log_degrees.clamp_max(MAX_LOG_DEGREES).exp()

    def standardised(self, context: torch.Tensor) -> torch.Tensor:
        """The context as the network sees it, finite and within +-clip, [B, W, D]."""
        clip = self.options.clip
        scaled = ((context - self.context_mean) / self.context_scale).float()
        if self.training and self.options.context_noise:
            scaled = scaled + self.options.context_noise * torch.randn_like(scaled)
        return scaled.nan_to_num(nan=0.0).clamp(-clip, clip)

    def forward(self, context: torch.Tensor) -> AnchoredDensity:
        """The density of each context, [B, W, D]."""
        hidden = F.gelu(self.hidden1(self.standardised(context).flatten(-2)))
        hidden = F.gelu(self.hidden2(hidden))
        shape = (*context.shape[:-2], self.options.components, self.dim)
        parts = (
            self.logits(hidden),
            self.means(hidden).view(shape),
            self.log_sigmas(hidden).view(shape),
        )
        return AnchoredDensity(
            StudentMixture(*parts, self.degrees, self.bounds)
            if self.options.tails == "student-t"
            else DiagonalGaussianMixture(*parts, self.bounds),
            self.gate(hidden).squeeze(-1),
            self.options.marginal_weight,
            mean=self.target_mean,
            scale=self.target_scale,
        )

    def extra_repr(self) -> str:
        """What the layers do not show; part of what a checkpoint must match."""
        return str(self.options)


def _context_moments(frames: TaskFrames) -> Moments:
    """The moments of the newest context frame of every training frame."""
    moments = Moments(frames.dim)
    for which in chunks(frames):
        moments.update(seen(frames, which))
    return moments
