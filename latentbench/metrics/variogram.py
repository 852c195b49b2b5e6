r"""The variogram score: whether samples have their dimensions together as the truth has.

Scheuerer & Hamill (2015, eq. 6) with p = 1/2, here the mean over pairs of dimensions:

.. math:: VS(p, y) = \frac{1}{|P|} \sum_{(i, j) \in P}
    \big(|y_i - y_j|^{1/2} - E|X_i - X_j|^{1/2}\big)^2, \quad X \sim p

Proper, and sensitive to wrong dependence between dimensions where the energy score hardly is; a
shift of all dimensions by one number does not show in it. P are all pairs up to 32 dimensions, and
as many drawn once above, which is a choice of weights 0 and 1. From S = 32 samples without bias:
the variance of the mean over samples is taken off, so single scores may be negative.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from latentbench.metrics.columns import of_draws, without_context
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import Skill

if TYPE_CHECKING:
    import torch

    from latentbench.metrics.metric import Prediction

__all__ = [
    "MOST_PAIRS",
    "VariogramScore",
    "VariogramSkill",
    "pairs_of",
    "variogram",
    "variogram_of_samples",
    "variogram_unconditional",
]

MOST_PAIRS = 32 * 31 // 2
SEED = 20_070_101
BLOCK_VALUES = 1 << 20


def variogram(prediction: Prediction) -> torch.Tensor:
    """The variogram score of each frame, float64 [B], in units of the latents."""
    return of_draws(prediction.model, prediction.target, variogram_of_samples)


def variogram_unconditional(prediction: Prediction) -> torch.Tensor:
    """The same of the model fitted without context.

    Raises:
        ValueError: there is none.
    """
    return of_draws(without_context(prediction), prediction.target, variogram_of_samples)


def variogram_of_samples(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The fair score of S >= 2 samples [B, S, D], D >= 2, for targets [B, D], float64 [B]."""
    import torch  # noqa: PLC0415 - figures need none

    first, second = (torch.tensor(one, device=target.device) for one in pairs_of(target.shape[-1]))
    samples = drawn.shape[1]
    size = max(1, BLOCK_VALUES // (samples * len(first)))
    scores = []
    for some, true in zip(torch.split(drawn, size), torch.split(target, size), strict=True):
        # Dimensions first: a pair is then two runs of memory.
        parts = some.permute(2, 0, 1).contiguous(), true.mT.contiguous()
        apart, truly = ((one[first] - one[second]).abs_() for one in parts)
        squares, mean = apart.mean(-1).double(), apart.sqrt_().mean(-1).double()
        of_mean = (squares - mean.square()) / (samples - 1)
        scores.append(((truly.double().sqrt() - mean).square() - of_mean).mean(0))
    return torch.cat(scores)


@lru_cache(maxsize=8)
def pairs_of(dim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pairs i < j that are scored: all, or 496 of them."""
    import numpy as np  # noqa: PLC0415 - listing needs none

    first, second = np.triu_indices(dim, 1)
    if len(first) > MOST_PAIRS:
        kept = np.random.default_rng(SEED).choice(len(first), MOST_PAIRS, replace=False)
        first, second = first[np.sort(kept)], second[np.sort(kept)]
    return tuple(first.tolist()), tuple(second.tolist())


class VariogramScore(MeanMetric):
    """Mean variogram score over frames, in units of the latents."""

    name = "variogram_score"
    unit = "latent units"
    better = "lower"
    columns = MappingProxyType({"variogram_score": variogram})
    needs = ("sample",)
    least_dim = 2


class VariogramSkill(Metric):
    """1 - variogram score / that of the same model without context.

    0 where the context helps nothing; for models that only sample, too.
    """

    name = "variogram_skill"
    better = "higher"
    control = "unconditional"
    columns = MappingProxyType(
        {"variogram_score": variogram, "variogram_unconditional": variogram_unconditional}
    )
    statistic = Skill("variogram_score", "variogram_unconditional")
    needs = ("sample",)
    least_dim = 2
