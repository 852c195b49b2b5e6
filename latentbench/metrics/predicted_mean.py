r"""Scores of the predicted mean: its direction, and its norm on a log scale.

With \(m = \log\max(\|y\|, 10^{-8})\) of the target and \(\hat m\) of the predicted mean, both
forms of R² compare an error with the spread of m. A conditional mean is shorter than what it
predicts, so even the perfect predictor is negative here (docs/metrics.md): neither form shows that
magnitude is unpredictable.
"""

from __future__ import annotations

from types import MappingProxyType

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import R2, R2Var

__all__ = ["DirectionCosine", "LogMagnitudeR2", "LogMagnitudeR2Var"]


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
