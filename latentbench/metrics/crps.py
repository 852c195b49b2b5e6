r"""The continuous ranked probability score of dimensions and of log-magnitudes.

Gneiting & Raftery (2007, eq. 21), negatively oriented, the energy score of one dimension:

.. math:: CRPS(p, y) = E|X - y| - \tfrac12 E|X - X'|, \quad X, X' \sim p

In closed form for mixtures of Gaussians (Grimit, Gneiting, Berrocal & Johnson 2006): with
\(A(\mu, \sigma) = 2\sigma\varphi(\mu/\sigma) + \mu(2\Phi(\mu/\sigma) - 1)\) = E|N(mu, sigma)|,

.. math:: \sum_i w_i A(y - \mu_i, \sigma_i)
    - \tfrac12 \sum_{ij} w_i w_j A(\mu_i - \mu_j, \sqrt{\sigma_i^2 + \sigma_j^2})

Elsewhere from S = 32 samples without bias, over all pairs i != j (the fair form).

The CRPS of \(m = \log\max(\|y\|, 10^{-8})\), always from samples, is the fair score of
magnitude that the norm of a conditional mean is not (docs/metrics.md).
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics.columns import norms, of_draws
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import Skill

if TYPE_CHECKING:
    import torch
    from torch.distributions import Distribution

    from latentbench.metrics.metric import Prediction

__all__ = [
    "CRPS",
    "LogMagnitudeCRPS",
    "LogMagnitudeSkill",
    "crps",
    "crps_logmag",
    "crps_logmag_baseline",
    "crps_of_mixtures",
    "crps_of_samples",
]


# A sigma that underflowed is a point: A(mean, 0) = |mean|.
SMALLEST = 1e-300


def crps(prediction: Prediction) -> torch.Tensor:
    """The CRPS of each frame, averaged over its dimensions, float64 [B], in latent units."""
    from latentbench.metrics.draws import row_blocks  # noqa: PLC0415 - needs torch
    from latentbench.predictors.densities import components_of  # noqa: PLC0415 - likewise

    target = prediction.target
    mixture = components_of(prediction.model)
    if mixture is None or mixture.degrees is not None:
        return of_draws(
            prediction.model, target, lambda drawn, true: crps_of_samples(drawn, true).mean(-1)
        )
    scores = target.new_empty(len(target)).double()
    mixture = mixture.expand(len(target))
    for rows in row_blocks(target, math.prod(mixture.means.shape[1:])):
        part = mixture.rows(rows)
        of_dims = crps_of_mixtures(part.weights, part.means, part.sigmas, target[rows])
        scores[rows] = of_dims.mean(-1)
    return scores


def crps_logmag(prediction: Prediction) -> torch.Tensor:
    """The CRPS of the model for the log-magnitude of each target, float64 [B]."""
    return _crps_logmag(prediction.model, prediction.target)


def crps_logmag_baseline(prediction: Prediction) -> torch.Tensor:
    """The CRPS of the baseline for the log-magnitude of each target, float64 [B]."""
    return _crps_logmag(prediction.baseline, prediction.target)


def crps_of_mixtures(
    weights: torch.Tensor, means: torch.Tensor, sigmas: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """The CRPS of one-dimensional mixtures of Gaussians, in closed form.

    Args:
        weights: [B, K].
        means: [B, K, D].
        sigmas: [B, K, D].
        target: [B, D].

    Returns:
        float64 [B, D].
    """
    weights, means, sigmas = weights.double().unsqueeze(-1), means.double(), sigmas.double()
    score = (weights * _mean_size(target.double().unsqueeze(1) - means, sigmas)).sum(1)
    # A component against itself: A(0, sqrt(2) sigma) = 2 sigma / sqrt(pi).
    score -= (weights.square() * sigmas).sum(1) / math.sqrt(math.pi)
    variances = sigmas.square()
    for i in range(means.shape[1] - 1):
        spread = (variances[:, i + 1 :] + variances[:, i, None]).sqrt()
        apart = _mean_size(means[:, i + 1 :] - means[:, i, None], spread)
        score -= weights[:, i] * (weights[:, i + 1 :] * apart).sum(1)
    return score


def crps_of_samples(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The fair CRPS of S >= 2 samples [B, S, ...] for targets [B, ...], float64 [B, ...]."""
    samples = drawn.shape[1]
    drawn = drawn.double()
    miss = (drawn - target.double().unsqueeze(1)).abs().mean(1)
    # The sum of x_j - x_i over pairs i < j of sorted samples, every x by how often it is added.
    ordered = (drawn - drawn.mean(1, keepdim=True)).sort(1).values.movedim(1, -1)
    signs = 2.0 * ordered.new_ones(samples).cumsum(0) - (samples + 1)
    return miss - (ordered * signs).sum(-1) / (samples * (samples - 1))


class CRPS(MeanMetric):
    """Mean over frames and dimensions of the CRPS, in units of the latents."""

    name = "crps"
    unit = "latent units"
    better = "lower"
    columns = MappingProxyType({"crps": crps})
    needs = ("sample",)


class LogMagnitudeCRPS(MeanMetric):
    """Mean CRPS of the model for the natural log of the target's norm."""

    name = "crps_logmag"
    better = "lower"
    columns = MappingProxyType({"crps_logmag": crps_logmag})
    needs = ("sample",)


class LogMagnitudeSkill(Metric):
    """1 - CRPS of the model / CRPS of the baseline, for the log of the target's norm.

    0 for a model no better than the baseline, 1 for a perfect one; nan where the baseline is
    perfect, which leaves nothing to gain.
    """

    name = "crps_logmag_skill"
    better = "higher"
    columns = MappingProxyType(
        {"crps_logmag": crps_logmag, "crps_logmag_baseline": crps_logmag_baseline}
    )
    statistic = Skill("crps_logmag", "crps_logmag_baseline")
    needs = ("sample",)


def _crps_logmag(density: Distribution, target: torch.Tensor) -> torch.Tensor:
    return of_draws(
        density, target, lambda drawn, true: crps_of_samples(norms(drawn).log(), norms(true).log())
    )


def _mean_size(mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E|X| of X ~ N(mean, sigma), A of the module."""
    z = mean / sigma.clamp_min(SMALLEST)
    density = z.square().mul_(-0.5).exp_().mul_(math.sqrt(2.0 / math.pi))
    return density.mul_(sigma).add_(mean * z.mul_(math.sqrt(0.5)).erf_())
