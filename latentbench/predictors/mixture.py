"""Mixtures of diagonal Gaussians, whose log-density is one fused expression, and of Student-t."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.distributions import Chi2

from latentbench.predictors.densities import LOG_2PI, Components, FrameDensity, picked

if TYPE_CHECKING:
    from typing_extensions import Self

    from latentbench.predictors.densities import Shape

__all__ = ["DiagonalGaussianMixture", "StudentMixture"]


class DiagonalGaussianMixture(FrameDensity):
    r"""K diagonal Gaussians per element of a batch.

    .. math:: p(x) = \sum_i \pi_i \prod_d \mathcal N(x_d; \mu_{id}, \sigma_{id}^2)

    Weights are the softmax of `logits`; log sigma is clamped to `bounds`, with no gradient
    at and outside them. Half-precision arguments are taken to float32: a density summed over
    hundreds of dimensions does not survive bf16. Infinite or nan arguments give infinite or
    nan densities, never an exception.

    Args:
        logits: [B, K].
        means: [B, K, D].
        log_sigmas: [B, K, D], before the clamp.
        bounds: smallest and largest log sigma.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        means: torch.Tensor,
        log_sigmas: torch.Tensor,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        self.logits = _at_least_float32(logits)
        self.component_means = _at_least_float32(means)
        self._log_sigmas = _at_least_float32(log_sigmas)
        self.bounds = bounds
        super().__init__(logits.shape[:-1], means.shape[-1:])

    @classmethod
    def single(cls, mean: torch.Tensor, log_sigma: torch.Tensor) -> Self:
        """A mixture of one, mean and log sigma [B, D]."""
        return cls(torch.zeros_like(mean[..., :1]), mean.unsqueeze(-2), log_sigma.unsqueeze(-2))

    @property
    def weights(self) -> torch.Tensor:
        """Mixture weights, [B, K]."""
        return self.logits.softmax(-1)

    @property
    def component_log_sigmas(self) -> torch.Tensor:
        """The log sigma in use, after the clamp, [B, K, D]."""
        return self._log_sigmas.clamp(*self.bounds)

    @property
    def mean(self) -> torch.Tensor:
        """The mixture mean, [B, D]."""
        return _average(self.weights, self.component_means)

    @property
    def variance(self) -> torch.Tensor:
        """Within plus between components, [B, D]."""
        between = (self.component_means - self.mean.unsqueeze(-2)).square()
        return _average(self.weights, self.components.variances + between)

    @property
    def components(self) -> Components:
        """Its parts, their sigmas after the clamp."""
        return Components(
            self.weights, self.component_means, self.component_log_sigmas.exp(), self.bounds[0]
        )

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [..., B] for values [..., B, D], in the precision of the parameters."""
        log_prob: torch.Tensor = _LogDensity.apply(
            value.to(self.component_means.dtype),
            self.logits,
            self.component_means,
            self._log_sigmas,
            *self.bounds,
        )
        return log_prob

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, [*sample_shape, B, D]: a component by its weight, then a value from it.

        A row whose weights are not finite gives nan, as its density does.
        """
        with torch.no_grad():
            count = math.prod(sample_shape)
            weights = self.weights.reshape(-1, self.logits.shape[-1])
            sound = weights.isfinite().all(-1)
            usable = torch.where(sound.unsqueeze(-1), weights, torch.ones_like(weights))
            chosen = torch.multinomial(usable, count, replacement=True).t()
            chosen = chosen.reshape(*sample_shape, *self.batch_shape)
            means = picked(self.component_means, chosen)
            sigmas = picked(self._log_sigmas, chosen).clamp(*self.bounds).exp()
            drawn = means + sigmas * self._noise(chosen, means)
            unsound = ~sound.reshape(*self.batch_shape, 1)
            return drawn.masked_fill(unsound, math.nan)

    def _noise(self, chosen: torch.Tensor, like: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - all components have the same
        """Draws of the chosen components [..., B] in units of their scale, [..., B, D]."""
        return torch.randn_like(like)


class StudentMixture(DiagonalGaussianMixture):
    r"""K multivariate Student-t distributions of diagonal scale per element of a batch.

    .. math::
        p(x) = \sum_i \pi_i \frac{\Gamma(\frac{\nu_i + D}2)}{\Gamma(\frac{\nu_i}2)
        (\pi \nu_i)^{D/2} \prod_d \sigma_{id}} \Bigl(1 + \tfrac1{\nu_i} \sum_d
        \frac{(x_d - \mu_{id})^2}{\sigma_{id}^2}\Bigr)^{-(\nu_i + D)/2}

    One chi-square scales all dimensions of a frame (Kotz & Nadarajah 2004, eq. 1.1): frames
    are loud or quiet as a whole. Each component tends to a diagonal Gaussian as nu grows.

    Args:
        logits: [B, K], of the weights.
        means: [B, K, D].
        log_sigmas: [B, K, D], of the scales, before the clamp.
        degrees: nu, [K], above 1.
        bounds: smallest and largest log sigma.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        means: torch.Tensor,
        log_sigmas: torch.Tensor,
        degrees: torch.Tensor,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        self.degrees = degrees
        super().__init__(logits, means, log_sigmas, bounds)

    @property
    def components(self) -> Components:
        """Its parts, their scales after the clamp."""
        return replace(super().components, degrees=self.degrees)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [..., B] for values [..., B, D], in the precision of the parameters."""
        dim = value.shape[-1]
        log_sigmas = self.component_log_sigmas
        residual = value.to(self.component_means.dtype).unsqueeze(-2) - self.component_means
        spread = (residual * (-log_sigmas).exp()).square().sum(-1) / self.degrees
        # The two lgamma of a large nu agree in most of their digits.
        half = self.degrees.double() / 2.0
        constant = torch.lgamma(half + dim / 2.0) - torch.lgamma(half)
        constant -= dim / 2.0 * (2.0 * math.pi * half).log()
        joint = (
            self.logits.log_softmax(-1)
            + constant.float()
            - log_sigmas.sum(-1)
            - (self.degrees + dim) / 2.0 * spread.log1p()
        )
        return joint.logsumexp(-1)

    def _noise(self, chosen: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        degrees = self.degrees[chosen]
        scale = (degrees / Chi2(degrees).sample()).sqrt().unsqueeze(-1)
        return scale * torch.randn_like(like)


class _LogDensity(Function):
    """ln sum_i pi_i N(x; mu_i, sigma_i) and its gradients.

    Two [B, K, D] tensors are made on the way forward, sigma and z = (x - mu)/sigma, and two
    on the way back, the gradients themselves: with responsibilities r_i = pi_i N_i / p,
    d/dmu = r z/sigma, d/dlog sigma = r (z^2 - 1), d/dlogit = r - pi.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        value: torch.Tensor,
        logits: torch.Tensor,
        means: torch.Tensor,
        log_sigmas: torch.Tensor,
        low: float,
        high: float,
    ) -> torch.Tensor:
        sigma = log_sigmas.clamp(low, high)
        log_scale = sigma.sum(-1)
        sigma.exp_()
        z = (value.unsqueeze(-2) - means).div_(sigma)
        distance = torch.linalg.vector_norm(z, dim=-1).square_()
        constant = 0.5 * LOG_2PI * value.shape[-1]
        joint = logits.log_softmax(-1) - 0.5 * distance - log_scale - constant
        log_prob: torch.Tensor = joint.logsumexp(-1)
        ctx.bounds = (low, high)
        ctx.shapes = (value.shape, means.shape)
        ctx.save_for_backward(logits, log_sigmas, sigma, z, joint, log_prob)
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        logits, log_sigmas, sigma, z, joint, log_prob = ctx.saved_tensors
        needs_value, needs_logits, needs_means, needs_sigmas = ctx.needs_input_grad[:4]
        value_shape, means_shape = ctx.shapes
        share = (joint - log_prob.unsqueeze(-1)).exp_() * gradient.unsqueeze(-1)
        for_value = for_logits = for_means = for_sigmas = None
        if needs_logits:
            by_weight = share - logits.softmax(-1) * gradient.unsqueeze(-1)
            for_logits = by_weight.sum_to_size(logits.shape)
        pull = z * share.unsqueeze(-1)
        if needs_sigmas:
            by_sigma = (z * pull).sub_(share.unsqueeze(-1))
            torch.ops.aten.hardtanh_backward.grad_input(  # zero outside the bounds, in one pass
                by_sigma, log_sigmas, *ctx.bounds, grad_input=by_sigma
            )
            for_sigmas = by_sigma.sum_to_size(log_sigmas.shape)
        if needs_means or needs_value:
            by_component = pull.div_(sigma)
            if needs_value:
                for_value = by_component.sum(-2).neg_().sum_to_size(value_shape)
            if needs_means:
                for_means = by_component.sum_to_size(means_shape)
        return for_value, for_logits, for_means, for_sigmas, None, None


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in {torch.bfloat16, torch.float16} else tensor


def _average(weights: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """Sum over K of weights [B, K] times components [B, K, D], never in autocast's precision."""
    with torch.autocast(weights.device.type, enabled=False):
        return torch.einsum("...k,...kd->...d", weights, components)
