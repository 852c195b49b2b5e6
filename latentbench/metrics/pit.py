r"""Coverage: the share of targets inside predicted intervals.

The probability integral transform (Dawid 1984; Gneiting, Balabdaoui & Raftery 2007) of
dimension d is \(u_d = F_d(y_d)\), F_d the marginal CDF of the prediction. Under a calibrated
model u is uniform, and the central interval of level c holds a share c of all targets: more
means that the model is less sure than it could be, less that it is surer than it may be.

F is exact for mixtures of Gaussians. Elsewhere it is the rank of y among S = 32 samples, spread
evenly over its step: u = (rank + v) / (S + 1), v uniform, which is uniform as well where the
model is calibrated. Where it is not, u is smoothed, and its coverage nearer to the level than
that of F.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics.metric import MeanMetric

if TYPE_CHECKING:
    import torch

    from latentbench.metrics.metric import Prediction

__all__ = ["PitCoverage50", "PitCoverage90", "inside_50", "inside_90", "pit"]


# A sigma that underflowed is a point, at which half is below.
SMALLEST = 1e-300


def pit(prediction: Prediction) -> torch.Tensor:
    """F_d(y_d) of every frame and dimension, float64 [B, D] in 0..1; nan where F is."""
    from latentbench.metrics.draws import (  # noqa: PLC0415 - needs torch
        draw_blocks,
        row_blocks,
        uniform,
    )
    from latentbench.predictors.densities import components_of  # noqa: PLC0415 - likewise

    target = prediction.target
    values = target.new_empty(target.shape).double()
    mixture = components_of(prediction.model)
    if mixture is None or mixture.degrees is not None:
        jitter = uniform(target, target.shape[-1])
        for rows, drawn in draw_blocks(prediction.model, target):
            below = (drawn <= target[rows, None]).sum(1)
            placed = (below + jitter[rows]) / (drawn.shape[1] + 1)
            values[rows] = placed.masked_fill(drawn.isnan().any(1), float("nan"))
        return values
    mixture = mixture.expand(len(target))
    for rows in row_blocks(target, math.prod(mixture.means.shape[1:])):
        part = mixture.rows(rows)
        away = (target[rows, None] - part.means).double()
        z = away / part.sigmas.double().clamp_min(SMALLEST)
        above = part.weights.unsqueeze(-1) * z.mul_(math.sqrt(0.5)).erf_()
        values[rows] = 0.5 + 0.5 * above.sum(1)
    return values


def inside_50(prediction: Prediction) -> torch.Tensor:
    """The share of dimensions inside their central 50 % interval, float64 [B]."""
    return _inside(0.5, prediction)


def inside_90(prediction: Prediction) -> torch.Tensor:
    """The share of dimensions inside their central 90 % interval, float64 [B]."""
    return _inside(0.9, prediction)


class _Coverage(MeanMetric):
    """Share of frames and dimensions inside a central interval; best at its level."""

    better = "nominal"
    needs = ("sample",)


class PitCoverage50(_Coverage):
    """Share of targets inside the central 50 % interval of their dimension; best at 0.5."""

    name = "pit_coverage_50"
    nominal = 0.5
    columns = MappingProxyType({"pit_inside_50": inside_50})


class PitCoverage90(_Coverage):
    """Share of targets inside the central 90 % interval of their dimension; best at 0.9."""

    name = "pit_coverage_90"
    nominal = 0.9
    columns = MappingProxyType({"pit_inside_90": inside_90})


def _inside(level: float, prediction: Prediction) -> torch.Tensor:
    """The share of dimensions inside the central interval of `level`, float64 [B]."""
    away = (pit(prediction) - 0.5).abs()
    return (away <= 0.5 * level).double().masked_fill_(away.isnan(), float("nan")).mean(-1)
