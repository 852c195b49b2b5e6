"""View a density as a mixture of components, where it is one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    constraints,
)

from latentbench.errors import UsageError

__all__ = [
    "LOG_2PI",
    "Components",
    "FrameDensity",
    "Shape",
    "components_of",
    "most_likely_component",
    "picked",
]

Shape: TypeAlias = "torch.Size | list[int] | tuple[int, ...]"

LOG_2PI = math.log(2.0 * math.pi)


class FrameDensity(Distribution):
    """A density of vectors whose parameters and values may be any numbers."""

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute
    support = constraints.real_vector

    def __init__(self, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        super().__init__(batch_shape, event_shape, validate_args=False)


@dataclass(frozen=True)
class Components:
    """K components per element of a batch, by the marginals of their dimensions.

    A density says them by a property `components`.

    Attributes:
        weights: [B, K].
        means: [B, K, D]; of Student-t components their location.
        sigmas: [B, K, D]; of Student-t components their scale.
        floor: the smallest log sigma the density can have; a number, or broadcastable to
            [B, K, D]; -inf where there is none.
        degrees: nu of Student-t components, [K], infinite of a Gaussian; None: all are Gaussian.
        independent: whether the dimensions of a component are.
    """

    weights: torch.Tensor
    means: torch.Tensor
    sigmas: torch.Tensor
    floor: torch.Tensor | float = -math.inf
    degrees: torch.Tensor | None = None
    independent: bool = True

    @classmethod
    def single(
        cls, mean: torch.Tensor, sigma: torch.Tensor, *, independent: bool = True
    ) -> Components:
        """One Gaussian, mean and sigma [B, D]."""
        weight = mean.new_ones(*mean.shape[:-1], 1)
        return cls(weight, mean.unsqueeze(-2), sigma.unsqueeze(-2), independent=independent)

    @property
    def variances(self) -> torch.Tensor:
        """Of each dimension of each component, [B, K, D]; infinite of a nu of 2 or less."""
        if self.degrees is None:
            return self.sigmas.square()
        wider = torch.where(self.degrees.isinf(), 1.0, self.degrees / (self.degrees - 2.0))
        wider = wider.masked_fill(self.degrees <= 2.0, math.inf)  # noqa: PLR2004 - of the formula
        return self.sigmas.square() * wider.unsqueeze(-1)

    def rescaled(self, shift: torch.Tensor, scale: torch.Tensor) -> Components:
        """The components of y = shift + scale z, of z these; each [D] or [B, 1, D]."""
        return replace(
            self,
            means=shift + scale * self.means,
            sigmas=scale * self.sigmas,
            floor=self.floor + scale.log(),
        )

    def rows(self, which: slice) -> Components:
        """Those of some elements of the batch."""
        return replace(
            self, weights=self.weights[which], means=self.means[which], sigmas=self.sigmas[which]
        )

    def expand(self, rows: int) -> Components:
        """Those of a batch of [B], or of [1], for a batch of [rows]."""
        return replace(
            self,
            weights=self.weights.expand(rows, *self.weights.shape[1:]),
            means=self.means.expand(rows, *self.means.shape[1:]),
            sigmas=self.sigmas.expand(rows, *self.sigmas.shape[1:]),
        )

    def log_joint(self, target: torch.Tensor) -> torch.Tensor:
        """Ln of weight times density of each component at targets [B, D], plus a constant, [B, K].

        As if the dimensions of a component were uncorrelated.
        """
        dim = target.shape[-1]
        squares = ((target.unsqueeze(-2) - self.means) / self.sigmas).square().sum(-1)
        log_density = -0.5 * squares
        if self.degrees is not None:
            nu = self.degrees.double()
            half = nu / 2.0
            student = torch.lgamma(half + dim / 2.0) - torch.lgamma(half) - dim / 2.0 * half.log()
            student = student - (half + dim / 2.0) * (squares / nu).log1p()
            log_density = torch.where(nu.isinf(), log_density, student)
        return self.weights.log() + log_density - self.sigmas.log().sum(-1)


def components_of(density: Distribution) -> Components | None:
    """The components of a density; None where it is no mixture that is known.

    Known are densities with a property `components`, and of torch's `Independent(Normal)`,
    `MixtureSameFamily` of these and `MultivariateNormal`.
    """
    told = getattr(density, "components", None)
    if isinstance(told, Components):
        return told
    if isinstance(density, MultivariateNormal):
        return Components.single(density.mean, density.stddev, independent=False)
    if _is_normal(density):
        return Components.single(density.mean, density.stddev)
    if (
        isinstance(density, MixtureSameFamily)
        and isinstance(density.mixture_distribution, Categorical)
        and _is_normal(density.component_distribution)
    ):
        each = density.component_distribution
        return Components(density.mixture_distribution.probs, each.mean, each.stddev)
    return None


def most_likely_component(density: Distribution) -> torch.Tensor:
    """The mean of the component of the largest weight, float32 [B, D].

    A density that is no mixture tells it by a property `mode_component`, or by torch's `mode`.

    Raises:
        UsageError: it tells neither.
    """
    told: torch.Tensor | None = getattr(density, "mode_component", None)
    if told is not None:
        return told
    if (found := components_of(density)) is not None:
        return picked(found.means, found.weights.argmax(-1)).float()
    if isinstance(density, MixtureSameFamily):
        largest = density.mixture_distribution.probs.argmax(-1)
        return picked(density.component_distribution.mean, largest)
    try:
        return density.mode
    except NotImplementedError:
        raise UsageError(
            f"The density {type(density).__name__} does not tell its most likely component.",
            "Roll out by the mean or by samples, or give the density a property "
            "'mode_component' [B, D].",
        ) from None


def picked(components: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The chosen [..., B] components of [B, K, D]: [..., B, D]."""
    index = chosen[..., None, None].expand(*chosen.shape, 1, components.shape[-1])
    source = components.expand(*chosen.shape, *components.shape[-2:])
    return source.gather(-2, index).squeeze(-2)


def _is_normal(density: Distribution) -> bool:
    return (
        isinstance(density, Independent)
        and density.reinterpreted_batch_ndims == 1
        and isinstance(density.base_dist, Normal)
    )
