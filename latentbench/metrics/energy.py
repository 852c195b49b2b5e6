r"""The energy score: the distance of samples from what came true (docs/metrics.md).

Gneiting & Raftery (2007, eq. 22 with beta = 1), negatively oriented:

.. math:: ES(p, y) = E\|X - y\| - \tfrac12 E\|X - X'\|, \quad X, X' \sim p

A proper score of the whole density that rests neither on its mean nor on a density value, so it
stays finite where a likelihood explodes. Estimated from S = 32 samples without bias, over all
pairs i != j (the fair form): the mean over frames does not depend on S.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics.columns import of_draws, without_context
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import Ratio, Skill

if TYPE_CHECKING:
    import torch

    from latentbench.metrics.metric import Prediction

__all__ = [
    "EnergyScore",
    "EnergySkill",
    "SpreadSkill",
    "energy",
    "energy_of_samples",
    "energy_unconditional",
    "sample_spread",
    "squared_error_of_mean",
]


def energy(prediction: Prediction) -> torch.Tensor:
    """The energy score of each frame, float64 [B], in units of the latents."""
    return of_draws(prediction.model, prediction.target, energy_of_samples)


def energy_unconditional(prediction: Prediction) -> torch.Tensor:
    """The same of the model fitted without context.

    Raises:
        ValueError: there is none.
    """
    return of_draws(without_context(prediction), prediction.target, energy_of_samples)


def sample_spread(prediction: Prediction) -> torch.Tensor:
    """Variance of S samples, times (S + 1)/S, summed over dimensions, float64 [B].

    By that factor it is what the squared error of their mean is for a calibrated density: the
    target varies as a sample does, and the mean of S as 1/S of one (Fortin et al. 2014).
    """
    return of_draws(prediction.model, prediction.target, _spread)


def squared_error_of_mean(prediction: Prediction) -> torch.Tensor:
    """Squared distance of the mean of the samples from the target, float64 [B]."""
    return of_draws(prediction.model, prediction.target, _squared_error)


def _spread(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: ARG001 - as the other scores
    samples = drawn.shape[1]
    return drawn.double().var(1).sum(-1) * (samples + 1) / samples


def _squared_error(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (drawn.double().mean(1) - target.double()).square().sum(-1)


def energy_of_samples(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The fair energy score of S >= 2 samples [B, S, D] for targets [B, D], float64 [B]."""
    samples = drawn.shape[1]
    away = drawn.double()
    away -= target.double().unsqueeze(1)
    miss = away.square().sum(-1).sqrt().mean(-1)
    # Distances by inner products, which lose no digits around the mean of the samples.
    away -= away.mean(1, keepdim=True)
    inner = away @ away.transpose(1, 2)
    norms = inner.diagonal(dim1=1, dim2=2)
    squares = norms.unsqueeze(1) + norms.unsqueeze(2) - 2.0 * inner
    apart = squares.clamp_min(0.0).sqrt().sum((1, 2))
    return miss - 0.5 * apart / (samples * (samples - 1))


class EnergyScore(MeanMetric):
    """Mean energy score over frames, in units of the latents."""

    name = "energy_score"
    unit = "latent units"
    better = "lower"
    columns = MappingProxyType({"energy_score": energy})
    needs = ("sample",)


class EnergySkill(Metric):
    """1 - energy score / that of the same model without context.

    0 where the context helps nothing, 1 for a perfect forecast; for models that only sample, too.
    """

    name = "energy_skill"
    better = "higher"
    control = "unconditional"
    columns = MappingProxyType(
        {"energy_score": energy, "energy_unconditional": energy_unconditional}
    )
    statistic = Skill("energy_score", "energy_unconditional")
    needs = ("sample",)


class SpreadSkill(Metric):
    """Mean variance of samples over the mean squared error of their mean (Fortin et al. 2014).

    1 for a calibrated density, below it for one that is too sure, 0 for one that never varies.
    """

    name = "spread_skill"
    better = "nominal"
    nominal = 1.0
    columns = MappingProxyType(
        {"sample_spread": sample_spread, "squared_error_of_mean": squared_error_of_mean}
    )
    statistic = Ratio("sample_spread", "squared_error_of_mean")
    needs = ("sample",)
