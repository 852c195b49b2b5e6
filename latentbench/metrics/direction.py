"""Whether the predicted mean points where the target went."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import Metric
from latentbench.metrics.moments import Mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from latentbench.specs import NoOptions

__all__ = ["DirectionCosine"]


class DirectionCosine(Metric):
    """Mean over frames of the cosine between target and predicted mean, in -1..1."""

    name = "direction_cos"
    unit = ""
    better = "higher"
    columns = MappingProxyType({"cosine": scores.cosine})

    def __init__(self, options: NoOptions) -> None:  # noqa: ARG002 - the contract of factories
        self._mean = Mean()

    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of `cosine`."""
        self._mean.update(columns["cosine"])

    def compute(self) -> float:
        """The mean."""
        return self._mean.compute()
