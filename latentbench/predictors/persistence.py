"""Persistence: what was last seen goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.errors import UsageError
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.moments import (
    Moments,
    chunks,
    require_finite,
    require_frames,
    seen,
    taps,
)
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from latentbench.predictors.plugin import PersistenceOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["Persistence"]

MIN_FRAMES = 3


class Persistence(Predictor):
    r"""The target's own last observed value s, and a diagonal Gaussian of what it misses.

    For the target x_t, s = x_{t-k}. For the target x_t - x_{t-m}, s = x_{t-k} - x_{t-k-m}, the
    newest such change inside the window: the forecast goes on at constant velocity.

    .. math::
        \text{gain = one: } \hat y = s, \quad v_d = \tfrac1N \sum (y_d - s_d)^2 \qquad
        \text{gain = fitted: } \hat y_d = \bar y_d + g_d (s_d - \bar s_d), \quad
        g_d = \frac{\mathrm{cov}(y_d, s_d)}{\mathrm{var}(s_d)}, \quad
        v_d = \tfrac1{N-2} \sum (y_d - \hat y_d)^2

    `one` is the naive forecast, `fitted` a regression of each dimension on its own s. Sums are
    over all training frames, in float64; v is floored as in `marginal`. Without a context there
    is no s, and both say the mean of the targets.
    """

    options: PersistenceOptions
    taps: torch.Tensor
    gain: torch.Tensor
    bias: torch.Tensor
    sigma: torch.Tensor

    def __init__(self, options: PersistenceOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.register_buffer("taps", torch.zeros(context_frames, dtype=torch.float64))
        self.register_buffer("gain", torch.ones(dim, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("sigma", torch.ones(dim, dtype=torch.float64))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take the moments of targets and last observed values.

        Raises:
            UsageError: the target is a change over more frames than the window holds.
            LatentbenchError: fewer than three frames, or frames that are not finite.
        """
        weights = taps(train)
        if max(weights) >= self.context_frames:
            raise UsageError(
                f"The predictor 'persistence' sees no change over {train.step} frame(s) in a "
                f"window of {self.context_frames} (target delta).",
                "Use a longer context, a smaller step, or --set task.target=x.",
            )
        require_frames(train, MIN_FRAMES, "persistence")
        self.to(training.device)
        self.taps.zero_()
        for age, weight in weights.items():
            self.taps[-1 - age] = weight
        moments = self._moments(train)
        variance = moments.variance()
        require_finite(variance, train)
        target, last, total, missed = variance.view(4, -1)
        gain, bias = torch.ones_like(last), torch.zeros_like(last)
        mean_target, mean_last, _, mean_missed = moments.mean.view(4, -1)
        count = float(moments.count)
        if self.options.gain == "one" and not train.blind:
            residual = missed * ((count - 1.0) / count) + mean_missed.square()
        else:
            # cov(y, s) = (var(y + s) - var(y - s)) / 4
            covariance = (total - missed) / 4.0
            gain = torch.where(last > 0, covariance / last, 0.0)
            bias = mean_target - gain * mean_last
            residual = (target - gain * covariance) * ((count - 1.0) / (count - 2.0))
        self.gain.copy_(gain)
        self.bias.copy_(bias)
        self.sigma.copy_(residual.clamp_min(self.options.floor).sqrt())

    def _moments(self, train: TaskFrames) -> Moments:
        """Of target y, last observed value s, y + s and y - s, one after another: [4 D]."""
        moments = Moments(4 * self.dim)
        for which in chunks(train):
            target = train.targets(which).double()
            last = torch.zeros_like(target)
            for age, weight in taps(train).items():
                last += weight * seen(train, which, age)
            moments.update(torch.cat([target, last, target + last, target - last], -1))
        return moments

    def forward(self, context: torch.Tensor) -> SharedGaussian:
        """The Gaussian of each context, [B, W, D]."""
        last = torch.einsum("...wd,w->...d", context.double(), self.taps)
        return SharedGaussian.from_factor(self.bias + self.gain * last, self.sigma)
