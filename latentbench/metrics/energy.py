r"""The energy score: the distance of samples from what came true (docs/metrics.md).

Gneiting & Raftery (2007, eq. 22 with beta = 1), negatively oriented:

.. math:: ES(p, y) = E\|X - y\| - \tfrac12 E\|X - X'\|, \quad X, X' \sim p

A proper score of the whole density that rests neither on its mean nor on a density value, so it
stays finite where a likelihood explodes. Estimated from S = 32 samples without bias, over all
pairs i != j (the fair form): the mean over frames does not depend on S.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics.metric import MeanMetric

if TYPE_CHECKING:
    import torch

    from latentbench.metrics.metric import Prediction

__all__ = ["EnergyScore", "energy", "energy_of_samples"]


def energy(prediction: Prediction) -> torch.Tensor:
    """The energy score of each frame, float64 [B], in units of the latents."""
    from latentbench.metrics.draws import draw_blocks  # noqa: PLC0415 - figures need no torch

    target = prediction.target
    scores = target.new_empty(len(target)).double()
    for rows, drawn in draw_blocks(prediction.model, target):
        scores[rows] = energy_of_samples(drawn, target[rows])
    return scores


def energy_of_samples(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The fair energy score of S >= 2 samples [B, S, D] for targets [B, D], float64 [B]."""
    samples = drawn.shape[1]
    away = drawn.double()
    away -= target.double().unsqueeze(1)
    miss = away.square().sum(-1).sqrt().mean(-1)
    # Distances by inner products, which lose no digits around the mean of the samples.
    away -= away.mean(1, keepdim=True)
    inner = away @ away.transpose(1, 2)
    norms = inner.diagonal(dim1=1, dim2=2)
    squares = norms.unsqueeze(1) + norms.unsqueeze(2) - 2.0 * inner
    apart = squares.clamp_min(0.0).sqrt().sum((1, 2))
    return miss - 0.5 * apart / (samples * (samples - 1))


class EnergyScore(MeanMetric):
    """Mean energy score over frames, in units of the latents."""

    name = "energy_score"
    unit = "latent units"
    better = "lower"
    columns = MappingProxyType({"energy_score": energy})
    needs = ("sample",)
