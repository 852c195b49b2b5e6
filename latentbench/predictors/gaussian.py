"""One Gaussian per context, all of one spread: the density of closed-form predictors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.predictors.densities import LOG_2PI, Components, FrameDensity

if TYPE_CHECKING:
    from latentbench.predictors.densities import Shape

__all__ = ["SharedGaussian", "positive_definite_factor"]


class SharedGaussian(FrameDensity):
    r"""Gaussians of their own means and one common covariance S = L L^T.

    .. math:: \log p(x) = -\tfrac12 \lVert L^{-1} (x - \mu) \rVert^2 - \ln |L| - \tfrac D2 \ln 2\pi

    `mean` and `sample` are float32, as targets are; `log_prob` computes and returns float64.

    Args:
        mean: float64 [B, D].
        spread: float64, the variances [D] of a diagonal covariance, or the lower Cholesky
            factor [D, D] of a full one.
    """

    def __init__(self, mean: torch.Tensor, spread: torch.Tensor) -> None:
        self._mean = mean
        self._spread = spread
        super().__init__(mean.shape[:-1], mean.shape[-1:])

    @classmethod
    def from_factor(cls, mean: torch.Tensor, factor: torch.Tensor) -> SharedGaussian:
        """The same of standard deviations [D], or of a lower Cholesky factor [D, D]."""
        return cls(mean, factor.square() if factor.dim() == 1 else factor)

    @property
    def factor(self) -> torch.Tensor:
        """L, float64: the standard deviations [D], or the lower Cholesky factor [D, D]."""
        return self._spread.sqrt() if self._spread.dim() == 1 else self._spread

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float32."""
        return self._mean.float()

    @property
    def variance(self) -> torch.Tensor:
        """Of each dimension, [B, D], float32."""
        spread = self._spread
        variance = spread if spread.dim() == 1 else spread.square().sum(-1)
        return variance.float().expand(self._extended_shape())

    @property
    def components(self) -> Components:
        """Itself."""
        diagonal = self._spread.dim() == 1
        return Components.single(self.mean, self.variance.sqrt(), independent=diagonal)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        residual = value.double() - self._mean
        spread, constant = self._spread, LOG_2PI * len(self._spread)
        if spread.dim() == 1:
            squares, log_volume = residual.square() / spread, spread.log().sum()
        else:
            rows = residual.reshape(-1, residual.shape[-1])
            white = torch.linalg.solve_triangular(spread.mT, rows, upper=True, left=False)
            squares = white.reshape(residual.shape).square()
            log_volume = 2.0 * spread.diagonal().log().sum()
        return -0.5 * (squares.sum(-1) + (log_volume + constant))

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=torch.float32, device=self._mean.device)
        factor = self.factor.float()
        return self._mean.float() + (noise * factor if factor.dim() == 1 else noise @ factor.mT)


def positive_definite_factor(
    covariance: torch.Tensor, *, floor: float, eigenvalue_floor: float
) -> tuple[torch.Tensor, int]:
    """The Cholesky factor of a covariance, and how many directions had to be widened for it.

    The rule: variances below `floor` are raised to it, as those of `marginal` are, and such
    dimensions are taken as uncorrelated. Of the correlation matrix of the rest, eigenvalues
    below `eigenvalue_floor` times the largest are raised to that, its eigenvectors kept. A
    covariance that needs neither is factored as it is. Correlations, not covariances, are
    looked at so that the rule does not depend on the units of the dimensions.

    Args:
        covariance: float64 [D, D].
        floor: smallest variance of a dimension.
        eigenvalue_floor: smallest eigenvalue of the correlations, relative to the largest.

    Returns:
        Lower triangular float64 [D, D], and the number of directions widened.
    """
    variance = covariance.diagonal()
    constant = variance < floor
    scale = variance.clamp_min(floor).sqrt()
    correlation = covariance / scale / scale[:, None]
    correlation[constant] = 0.0
    correlation[:, constant] = 0.0
    correlation.diagonal().fill_(1.0)
    values, vectors = torch.linalg.eigh(correlation)
    smallest = eigenvalue_floor * values[-1]
    narrow = values < smallest
    if narrow.any():
        correlation = (vectors * values.clamp_min(smallest)) @ vectors.mT
    factor = torch.linalg.cholesky(correlation) * scale[:, None]
    return factor, int(constant.sum() + narrow.sum())
