"""Negative log-likelihoods, and what a model gains over one thing or another."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import Metric
from latentbench.metrics.moments import Mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from latentbench.specs import NoOptions

__all__ = [
    "NLL",
    "BaselineNLL",
    "CapacityNLL",
    "ContextNLL",
    "DeltaNLL",
    "XGain",
]


class _MeanNLL(Metric):
    """The mean of one column of nats, or of the difference of two."""

    unit = "nats/frame"
    better = "lower"
    minuend: ClassVar[str]
    subtrahend: ClassVar[str] = ""

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._mean = Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of the columns."""
        values = np.asarray(columns[self.minuend], dtype=np.float64)
        if self.subtrahend:
            # Where both are infinite the frame has no difference, and nan says so.
            with np.errstate(invalid="ignore"):
                values = values - np.asarray(columns[self.subtrahend], dtype=np.float64)
        self._mean.update(values)

    def compute(self) -> float:
        """The mean."""
        return self._mean.compute()


class NLL(_MeanNLL):
    """Mean of -log p(target | context), nats per frame."""

    name = "nll"
    columns = MappingProxyType({"nll": scores.nll})
    minuend = "nll"


class BaselineNLL(_MeanNLL):
    """Mean of -log p(target) under the baseline, nats per frame."""

    name = "nll_baseline"
    columns = MappingProxyType({"nll_baseline": scores.nll_baseline})
    minuend = "nll_baseline"


class DeltaNLL(_MeanNLL):
    """Mean of NLL minus baseline NLL, nats per frame; negative where the model is better."""

    name = "dnll"
    columns = MappingProxyType({"nll": scores.nll, "nll_baseline": scores.nll_baseline})
    minuend, subtrahend = "nll", "nll_baseline"


class CapacityNLL(_MeanNLL):
    """The part of ΔNLL that the same model gains without any context (docs/metrics.md)."""

    name = "dnll_capacity"
    columns = MappingProxyType(
        {"nll_unconditional": scores.nll_unconditional, "nll_baseline": scores.nll_baseline}
    )
    minuend, subtrahend = "nll_unconditional", "nll_baseline"


class ContextNLL(_MeanNLL):
    """The part of ΔNLL that is due to the context: against the same model without it."""

    name = "dnll_context"
    columns = MappingProxyType({"nll": scores.nll, "nll_unconditional": scores.nll_unconditional})
    minuend, subtrahend = "nll", "nll_unconditional"


class XGain(_MeanNLL):
    """Mean of -log p(x_t | context) + log p(x_t): the gain on x_t (docs/metrics.md)."""

    name = "x_gain"
    columns = MappingProxyType({"nll_x": scores.nll_x, "nll_x_baseline": scores.nll_x_baseline})
    minuend, subtrahend = "nll_x", "nll_x_baseline"
