r"""How well the norm of the predicted mean explains the norm of the target, on a log scale.

With \(m = \log\max(\|y\|, 10^{-8})\) of the target and \(\hat m\) of the predicted mean, both
forms compare an error with the spread of m. A conditional mean is shorter than what it
predicts, so even the perfect predictor is negative here (docs/metrics.md): neither form shows that
magnitude is unpredictable.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import Metric
from latentbench.metrics.moments import Mean, SquaredDeviations
from latentbench.metrics.speaker_sums import R2, R2Var

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from latentbench.specs import NoOptions

__all__ = ["LogMagnitudeR2", "LogMagnitudeR2Var"]


class LogMagnitudeR2(Metric):
    """1 - sum (m - m_hat)^2 / sum (m - mean m)^2, the form of the published table.

    nan where m does not vary, which leaves nothing to explain.
    """

    name = "logmag_r2"
    unit = ""
    better = "higher"
    columns = MappingProxyType({"log_norm": scores.log_norm, "log_norm_mean": scores.log_norm_mean})
    statistic = R2("log_norm", "log_norm_mean")

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._error = Mean()
        self._spread = SquaredDeviations()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `log_norm` and `log_norm_mean`."""
        with np.errstate(over="ignore", invalid="ignore"):
            self._error.update(np.square(_residual(columns)))
        self._spread.update(columns["log_norm"])

    def compute(self) -> float:
        """The coefficient of determination."""
        return _explained(self._error.total, self._spread.compute())


class LogMagnitudeR2Var(Metric):
    """1 - Var(m - m_hat) / Var(m), the form of the published prose: forgives a constant offset.

    nan where m does not vary, which leaves nothing to explain.
    """

    name = "logmag_r2_var"
    unit = ""
    better = "higher"
    columns = LogMagnitudeR2.columns
    statistic = R2Var("log_norm", "log_norm_mean")

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._error = SquaredDeviations()
        self._spread = SquaredDeviations()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `log_norm` and `log_norm_mean`."""
        self._error.update(_residual(columns))
        self._spread.update(columns["log_norm"])

    def compute(self) -> float:
        """The share of variance explained."""
        return _explained(self._error.compute(), self._spread.compute())


def _residual(columns: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    truth = np.asarray(columns["log_norm"], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(truth - np.asarray(columns["log_norm_mean"], dtype=np.float64))


def _explained(error: float, spread: float) -> float:
    return 1.0 - error / spread if spread > 0.0 else float("nan")
