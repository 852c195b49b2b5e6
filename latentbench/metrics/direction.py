"""Whether the predicted mean points where the target went."""

from __future__ import annotations

from types import MappingProxyType

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import MeanMetric

__all__ = ["DirectionCosine"]


class DirectionCosine(MeanMetric):
    """Mean over frames of the cosine between target and predicted mean, in -1..1."""

    name = "direction_cos"
    better = "higher"
    columns = MappingProxyType({"cosine": scores.cosine})
    needs = ("mean",)
