"""Densities whose dimensions are mixtures of Gaussians, seen as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from latentbench.predictors.anchored import AnchoredDensity
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.marginal import DiagonalGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.standardised import Rescaled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "GaussianMarginals",
    "correlated_gaussian",
    "diagonal_mixture",
    "gaussian_marginals",
    "row_blocks",
]

# A block takes a few MiB on a processor; elsewhere few calls matter more.
BLOCK_VALUES = {"cpu": 1 << 19}
BLOCK_VALUES_ELSEWHERE = 1 << 24


class GaussianMarginals(NamedTuple):
    """The marginal of each dimension as a mixture of K Gaussians.

    Attributes:
        weights: [B, K], the same for all dimensions.
        means: [B, K, D].
        sigmas: [B, K, D].
    """

    weights: torch.Tensor
    means: torch.Tensor
    sigmas: torch.Tensor

    def rows(self, which: slice) -> GaussianMarginals:
        """The marginals of some elements of the batch."""
        return GaussianMarginals(*(one[which] for one in self))


def diagonal_mixture(density: Distribution, rows: int) -> GaussianMarginals | None:
    """A mixture of diagonal Gaussians by its parts; None where the density is none.

    Known are latentbench's own, `Independent(Normal)` and `MixtureSameFamily` of those.

    Args:
        density: batch shape [B], or [1], which is broadcast; event shape [D].
        rows: B.
    """
    if isinstance(density, Rescaled):
        inner = diagonal_mixture(density.base, rows)
        if inner is None:
            return None
        shift, scale = density.shift.float(), density.scale.float()
        return GaussianMarginals(inner.weights, shift + scale * inner.means, scale * inner.sigmas)
    if isinstance(density, DiagonalGaussianMixture):
        parts = (density.weights, density.component_means, density.component_log_sigmas.exp())
    elif isinstance(density, AnchoredDensity) and isinstance(
        density.learned, DiagonalGaussianMixture
    ):
        parts = _anchored(density, density.learned)
    elif isinstance(density, DiagonalGaussian) or (
        isinstance(density, SharedGaussian) and correlated_gaussian(density) is None
    ):
        parts = _single(density.mean, density.variance.sqrt())
    elif _is_normal(density):
        parts = _single(density.mean, density.stddev)
    elif (
        isinstance(density, MixtureSameFamily)
        and isinstance(density.mixture_distribution, Categorical)
        and _is_normal(density.component_distribution)
    ):
        parts = (
            density.mixture_distribution.probs,
            density.component_distribution.mean,
            density.component_distribution.stddev,
        )
    else:
        return None
    return GaussianMarginals(*(one.expand(rows, *one.shape[1:]) for one in parts))


def gaussian_marginals(density: Distribution, rows: int) -> GaussianMarginals | None:
    """The marginals of a density, those of a full covariance included; None where unknown.

    Arguments as of `diagonal_mixture`.
    """
    if isinstance(density, MultivariateNormal | SharedGaussian):
        parts = _single(density.mean, density.variance.sqrt())
        return GaussianMarginals(*(one.expand(rows, *one.shape[1:]) for one in parts))
    return diagonal_mixture(density, rows)


def correlated_gaussian(density: Distribution) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Means [B, D] and the Cholesky factor [D, D] common to all; None where there is none."""
    if not isinstance(density, SharedGaussian):
        return None
    factor = density.factor
    return (density.mean, factor.float()) if factor.dim() > 1 else None


def row_blocks(batch: torch.Tensor, values_per_row: int) -> Iterator[slice]:
    """Cut a batch [B, ...] into slices whose blocks of values suit its device."""
    rows = len(batch)
    values = BLOCK_VALUES.get(batch.device.type, BLOCK_VALUES_ELSEWHERE)
    size = max(1, values // max(1, values_per_row))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _single(
    mean: torch.Tensor, sigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return mean.new_ones(*mean.shape[:-1], 1), mean.unsqueeze(-2), sigma.unsqueeze(-2)


def _anchored(
    density: AnchoredDensity, learned: DiagonalGaussianMixture
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The learned mixture in units of the target, and the anchor as its last component."""
    mean, scale = density.anchor_mean.float(), density.anchor_scale.float()
    anchor = density.anchor_weight.unsqueeze(-1)
    means = mean + scale * learned.component_means
    sigmas = scale * learned.component_log_sigmas.exp()
    last = (*means.shape[:-2], 1, means.shape[-1])
    return (
        torch.cat([(1.0 - anchor) * learned.weights, anchor], -1),
        torch.cat([means, mean.expand(last)], -2),
        torch.cat([sigmas, scale.expand(last)], -2),
    )


def _is_normal(density: Distribution) -> bool:
    return (
        isinstance(density, Independent)
        and density.reinterpreted_batch_ndims == 1
        and isinstance(density.base_dist, Normal)
    )
