"""Negative log-likelihoods, and what a model gains over the baseline."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import Metric
from latentbench.metrics.moments import Mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from latentbench.specs import NoOptions

__all__ = ["NLL", "BaselineNLL", "DeltaNLL"]


class NLL(Metric):
    """Mean of -log p(target | context), nats per frame."""

    name = "nll"
    unit = "nats/frame"
    better = "lower"
    columns = MappingProxyType({"nll": scores.nll})

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._mean = Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `nll`."""
        self._mean.update(columns["nll"])

    def compute(self) -> float:
        """The mean."""
        return self._mean.compute()


class BaselineNLL(Metric):
    """Mean of -log p(target) under the baseline, nats per frame."""

    name = "nll_baseline"
    unit = "nats/frame"
    better = "lower"
    columns = MappingProxyType({"nll_baseline": scores.nll_baseline})

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._mean = Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `nll_baseline`."""
        self._mean.update(columns["nll_baseline"])

    def compute(self) -> float:
        """The mean."""
        return self._mean.compute()


class DeltaNLL(Metric):
    """Mean of NLL minus baseline NLL, nats per frame; negative where the model is better."""

    name = "dnll"
    unit = "nats/frame"
    better = "lower"
    columns = MappingProxyType({"nll": scores.nll, "nll_baseline": scores.nll_baseline})

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._mean = Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `nll` and `nll_baseline`."""
        model = np.asarray(columns["nll"], dtype=np.float64)
        # Where both are infinite the frame has no difference, and nan says so.
        with np.errstate(invalid="ignore"):
            self._mean.update(model - np.asarray(columns["nll_baseline"], dtype=np.float64))

    def compute(self) -> float:
        """The mean."""
        return self._mean.compute()
