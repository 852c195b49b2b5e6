"""A mixture of Student-t distributions: tails that a Gaussian mixture does not have."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch.distributions import Distribution, constraints

from latentbench.predictors.densities import Components

__all__ = ["StudentMixture"]

Shape: TypeAlias = "torch.Size | list[int] | tuple[int, ...]"


class StudentMixture(Distribution):
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
        log_sigmas: [B, K, D], before the clamp.
        degrees: nu, [K], above 1.
        bounds: smallest and largest log sigma.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute
    support = constraints.real_vector

    def __init__(
        self,
        logits: torch.Tensor,
        means: torch.Tensor,
        log_sigmas: torch.Tensor,
        degrees: torch.Tensor,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        self.logits = logits.float()
        self.component_means = means.float()
        self.component_log_sigmas = log_sigmas.float().clamp(*bounds)
        self.degrees = degrees
        self.bounds = bounds
        super().__init__(logits.shape[:-1], means.shape[-1:], validate_args=False)

    @property
    def weights(self) -> torch.Tensor:
        """Mixture weights, [B, K]."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> torch.Tensor:
        """The mixture mean, [B, D]."""
        return (self.weights.unsqueeze(-1) * self.component_means).sum(-2)

    @property
    def components(self) -> Components:
        """Its parts, their scales after the clamp."""
        sigmas = self.component_log_sigmas.exp()
        return Components(self.weights, self.component_means, sigmas, self.bounds[0], self.degrees)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [..., B] for values [..., B, D]."""
        dim = value.shape[-1]
        z = (value.unsqueeze(-2) - self.component_means) * (-self.component_log_sigmas).exp()
        spread = z.square().sum(-1) / self.degrees
        # The two lgamma of a large nu agree in most of their digits.
        half = self.degrees.double() / 2.0
        constant = torch.lgamma(half + dim / 2.0) - torch.lgamma(half)
        constant -= dim / 2.0 * (2.0 * math.pi * half).log()
        joint = (
            self.logits.log_softmax(-1)
            + constant.float()
            - self.component_log_sigmas.sum(-1)
            - (self.degrees + dim) / 2.0 * spread.log1p()
        )
        return joint.logsumexp(-1)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, [*sample_shape, B, D]: a component, a chi-square, then a Gaussian."""
        with torch.no_grad():
            shape = (*sample_shape, *self.batch_shape)
            weights = self.weights.reshape(-1, self.logits.shape[-1])
            chosen = torch.multinomial(weights, math.prod(sample_shape), replacement=True)
            index = chosen.t().reshape(*shape, 1, 1).expand(*shape, 1, self.event_shape[0])
            components = (*shape, *self.component_means.shape[-2:])
            means = self.component_means.expand(components).gather(-2, index).squeeze(-2)
            logs = self.component_log_sigmas.expand(components).gather(-2, index).squeeze(-2)
            degrees = self.degrees[index[..., 0, 0]]
            chi_square = torch.distributions.Chi2(degrees).sample()
            scale = (degrees / chi_square).sqrt().unsqueeze(-1)
            return means + logs.exp() * scale * torch.randn_like(means)
