"""The metric contract: per-frame columns, streamed into one figure.

A metric has two halves. `columns` names per-frame scores and how each is computed from a
prediction; they are computed once, in batches on the device, and kept in `frames.parquet`.
`update`/`compute` turn those columns into a figure, for any subset of the frames, later, from
the file alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.metrics.speaker_sums import Statistic

__all__ = ["Metric", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """A batch of predictions beside what came true.

    Attributes:
        model: the predictor's density, batch [B], event [D].
        baseline: the baseline's density, batch [B] or broadcastable to it, event [D].
        target: [B, D].
        unconditional: the density of the same model fitted without context; None if there is
            none. What it gains over the baseline is capacity, not context.
        x: the same frames with x_t for a target; None if there are none.
    """

    model: Distribution
    baseline: Distribution
    target: torch.Tensor
    unconditional: Distribution | None = None
    x: Prediction | None = None


class Metric(ABC):
    """A figure over frames; made by `factory(options)`.

    Attributes:
        name: as in tables and files, e.g. `direction_cos`.
        unit: e.g. `nats/frame`; empty for a pure number.
        better: which way is better: `lower`, `higher`, or `nominal`, the closer to `nominal`.
        nominal: the ideal value where `better` is `nominal`, as of a coverage.
        columns: per-frame scores this metric reads: name -> function of a prediction giving
            [B]. Metrics that read the same column share one function.
        statistic: the same figure from sums per speaker (`latentbench.metrics.speaker_sums`), for
            its 95 % interval by the bootstrap. None: the figure is computed anew without each
            speaker in turn, for an interval by the jackknife (docs/uncertainty.md). A figure
            that is a mean needs neither this nor `update` and `compute`: derive from
            `latentbench.metrics.mean.MeanMetric`.
    """

    name: str
    unit: str = ""
    better: Literal["lower", "higher", "nominal"]
    nominal: float | None = None
    columns: Mapping[str, Callable[[Prediction], torch.Tensor]]
    statistic: Statistic | None = None

    @abstractmethod
    def update(self, columns: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one more batch of frames: each column of `columns`, [N]."""

    @abstractmethod
    def compute(self) -> float:
        """The figure over all frames so far, accumulated in float64; nan for no frames."""
