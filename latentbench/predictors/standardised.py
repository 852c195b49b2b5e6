"""Predictors of standardised frames, and densities brought back to the units of the targets."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

import torch

from latentbench.predictors.densities import FrameDensity, components_of, most_likely_component
from latentbench.predictors.moments import (
    Moments,
    chunks,
    require_finite,
    require_frames,
    seen,
    target_moments,
)
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from torch.distributions import Distribution

    from latentbench.predictors.densities import Components, Shape
    from latentbench.tasks import TaskFrames

__all__ = ["Rescaled", "StandardisedPredictor"]

MIN_FRAMES = 2


class StandardisedPredictor(Predictor, ABC):
    """Means and standard deviations of the training frames, in buffers of float64.

    Contexts are standardised by the newest frame of every training window, targets as `marginal`
    fits them. Of the options, `floor`, `clip` and `context_noise` are read.
    """

    context_mean: torch.Tensor
    context_scale: torch.Tensor
    target_mean: torch.Tensor
    target_scale: torch.Tensor

    def __init__(self, options: Any, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        for name in ("context", "target"):
            self.register_buffer(f"{name}_mean", torch.zeros(dim, dtype=torch.float64))
            self.register_buffer(f"{name}_scale", torch.ones(dim, dtype=torch.float64))

    def standardise_by(self, frames: TaskFrames, name: str) -> None:
        """Take the moments of the training frames.

        Args:
            frames: of training.
            name: of the predictor, as a user knows it.

        Raises:
            LatentbenchError: fewer than two frames, or frames that are not finite.
        """
        require_frames(frames, MIN_FRAMES, name)
        target, context = target_moments(frames), _context_moments(frames)
        for moments in (target, context):
            require_finite(moments.variance(), frames)
        self.target_mean.copy_(target.mean)
        self.target_scale.copy_(target.variance().clamp_min(self.options.floor).sqrt())
        self.context_mean.copy_(context.mean)
        spread = context.variance().sqrt()
        self.context_scale.copy_(torch.where(spread > 0, spread, 1.0))

    def standardised(self, context: torch.Tensor) -> torch.Tensor:
        """The context as a network sees it, finite and within +-clip, [..., D]."""
        clip = self.options.clip
        scaled = ((context - self.context_mean) / self.context_scale).float()
        if self.training:
            scaled = self.noisy(scaled)
        return scaled.nan_to_num(nan=0.0).clamp(-clip, clip)

    def noisy(self, scaled: torch.Tensor) -> torch.Tensor:
        """The standardised context with the noise of training."""
        noise = self.options.context_noise
        return scaled + noise * torch.randn_like(scaled) if noise else scaled


class Rescaled(FrameDensity):
    r"""The density of y = m + s z, where z has the density `base`.

    .. math:: \ln p(y) = \ln q((y - m) / s) - \sum_d \ln s_d

    z is computed and the Jacobian subtracted in float64; `log_prob` returns float64, `mean` and
    `sample` float32.

    Args:
        base: q, event [D]; it is asked for the density of z in float64.
        mean: m, float64 [D].
        scale: s, float64 [D].
    """

    def __init__(self, base: Distribution, mean: torch.Tensor, scale: torch.Tensor) -> None:
        self.base = base
        self.shift = mean
        self.scale = scale
        super().__init__(base.batch_shape, base.event_shape)

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float32."""
        return self._units(self.base.mean)

    @property
    def components(self) -> Components | None:
        """Those of z in the units of y; None where z has none."""
        found = components_of(self.base)
        return found and found.rescaled(self.shift, self.scale)

    @property
    def mode_component(self) -> torch.Tensor:
        """That of z in the units of y, float32 [B, D]."""
        return self._units(most_likely_component(self.base))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        z = (value.double() - self.shift) / self.scale
        return self.base.log_prob(z).double() - self.scale.log().sum()

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        return self._units(self.base.sample(torch.Size(sample_shape)))

    def _units(self, z: torch.Tensor) -> torch.Tensor:
        return (self.shift + self.scale * z).float()


def _context_moments(frames: TaskFrames) -> Moments:
    """The moments of the newest context frame of every training frame."""
    moments = Moments(frames.dim)
    for which in chunks(frames):
        moments.update(seen(frames, which))
    return moments
