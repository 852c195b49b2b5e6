r"""The variance left around the predicted mean, of Phase 0: SSE / SSE of one mean for all.

Dimensions are in units of their standard deviation under the control without context. Of a lookup
on the frames it was fitted on this is the classical SSE_within / SSE_total, which k groups of n
frames lower by (k - 1)/(n - 1) for nothing; on eval it has no such bias.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.errors import UsageError
from latentbench.metrics.columns import without_context
from latentbench.metrics.metric import Metric
from latentbench.metrics.statistics import Ratio

if TYPE_CHECKING:
    import torch
    from torch.distributions import Distribution

    from latentbench.metrics.metric import Prediction

__all__ = ["BaselineVarianceRatio", "VarianceRatio", "left_by_baseline", "left_by_model", "total"]


def left_by_model(prediction: Prediction) -> torch.Tensor:
    """Squared distance of the target from the model's mean, standardised, float64 [B]."""
    return _squares(prediction, prediction.model)


def left_by_baseline(prediction: Prediction) -> torch.Tensor:
    """The same from the baseline's mean."""
    return _squares(prediction, prediction.baseline)


def total(prediction: Prediction) -> torch.Tensor:
    """The same from the mean without context."""
    return _squares(prediction, without_context(prediction))


def _squares(prediction: Prediction, density: Distribution) -> torch.Tensor:
    away = prediction.target.double() - density.mean.double()
    return (away.square() / _variance(without_context(prediction))).sum(-1)


def _variance(density: Distribution) -> torch.Tensor:
    """Of each dimension, [B or 1, D].

    Raises:
        UsageError: the density does not tell it.
    """
    from latentbench.predictors.densities import components_of  # noqa: PLC0415 - figures need no torch

    found = components_of(density)
    if found is None:
        raise UsageError(
            "phase0_ratio needs a control of known variance, as that of lookup is.",
            "Leave it out of evaluation.metrics for this predictor.",
        )
    weights, means = found.weights.double().unsqueeze(-1), found.means.double()
    mean = (weights * means).sum(-2, keepdim=True)
    spread = found.variances.double() + (means - mean).square()
    return (weights * spread).sum(-2)


class VarianceRatio(Metric):
    """SSE around the model's mean over SSE around the mean without context."""

    name = "phase0_ratio"
    better = "lower"
    control = "unconditional"
    columns = MappingProxyType({"squares_left": left_by_model, "squares_total": total})
    statistic = Ratio("squares_left", "squares_total")
    needs = ("mean",)


class BaselineVarianceRatio(VarianceRatio):
    """The same of the baseline: in Phase 0 that of permuted keys."""

    name = "phase0_ratio_baseline"
    columns = MappingProxyType({"squares_left_baseline": left_by_baseline, "squares_total": total})
    statistic = Ratio("squares_left_baseline", "squares_total")
