r"""Scores of the predicted mean: its direction, its norm on a log scale, and what it leaves.

With \(m = \log\max(\|y\|, 10^{-8})\) of the target and \(\hat m\) of the predicted mean, both
forms of R² compare an error with the spread of m. A conditional mean is shorter than what it
predicts, so even the perfect predictor is negative here (docs/metrics.md): neither form shows that
magnitude is unpredictable.

The variance left, of Phase 0, is SSE / SSE of one mean for all, each dimension in units of its
standard deviation under the control without context. Of a lookup on the frames it was fitted on
this is the classical SSE_within / SSE_total, which k groups of n frames lower by (k - 1)/(n - 1)
for nothing; on eval it has no such bias.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.errors import UsageError
from latentbench.metrics import columns as scores
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import R2, R2Var, Ratio

if TYPE_CHECKING:
    import torch
    from torch.distributions import Distribution

    from latentbench.metrics.metric import Prediction

__all__ = [
    "BaselineVarianceRatio",
    "DirectionCosine",
    "LogMagnitudeR2",
    "LogMagnitudeR2Var",
    "VarianceRatio",
    "left_by_baseline",
    "left_by_model",
    "total",
]


def left_by_model(prediction: Prediction) -> torch.Tensor:
    """Squared distance of the target from the model's mean, standardised, float64 [B]."""
    return _squares(prediction, prediction.model)


def left_by_baseline(prediction: Prediction) -> torch.Tensor:
    """The same from the baseline's mean."""
    return _squares(prediction, prediction.baseline)


def total(prediction: Prediction) -> torch.Tensor:
    """The same from the mean without context."""
    return _squares(prediction, scores.without_context(prediction))


def _squares(prediction: Prediction, density: Distribution) -> torch.Tensor:
    away = prediction.target.double() - density.mean.double()
    return (away.square() / _variance(scores.without_context(prediction))).sum(-1)


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


class DirectionCosine(MeanMetric):
    """Mean over frames of the cosine between target and predicted mean, in -1..1."""

    name = "direction_cos"
    better = "higher"
    columns = MappingProxyType({"cosine": scores.cosine})
    needs = ("mean",)


class LogMagnitudeR2(Metric):
    """1 - sum (m - m_hat)^2 / sum (m - mean m)^2, the form of the published table.

    nan where m does not vary, which leaves nothing to explain.
    """

    name = "logmag_r2"
    better = "higher"
    columns = MappingProxyType({"log_norm": scores.log_norm, "log_norm_mean": scores.log_norm_mean})
    statistic = R2("log_norm", "log_norm_mean")
    needs = ("mean",)


class LogMagnitudeR2Var(Metric):
    """1 - Var(m - m_hat) / Var(m), the form of the published prose: forgives a constant offset.

    nan where m does not vary, which leaves nothing to explain.
    """

    name = "logmag_r2_var"
    better = "higher"
    columns = LogMagnitudeR2.columns
    statistic = R2Var("log_norm", "log_norm_mean")
    needs = ("mean",)


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
