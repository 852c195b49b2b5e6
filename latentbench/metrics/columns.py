"""Per-frame scores of a prediction, each float64 [B]; metrics share them by identity.

Everything after the density itself is in float64: the norm of a float32 vector overflows long
before the vector does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch.distributions import Distribution

    from latentbench.metrics.metric import Prediction

__all__ = [
    "NORM_FLOOR",
    "cosine",
    "dimensions",
    "log_norm",
    "log_norm_mean",
    "nll",
    "nll_baseline",
    "nll_unconditional",
    "nll_x",
    "nll_x_baseline",
    "norms",
    "of_draws",
    "without_context",
]

NORM_FLOOR = 1e-8


def nll(prediction: Prediction) -> torch.Tensor:
    """-log p(target | context) of the model, nats."""
    return -prediction.model.log_prob(prediction.target).double()


def nll_baseline(prediction: Prediction) -> torch.Tensor:
    """-log p(target) of the baseline, nats."""
    density = -prediction.baseline.log_prob(prediction.target).double()
    return density.expand(prediction.target.shape[:1])


def nll_unconditional(prediction: Prediction) -> torch.Tensor:
    """-log p(target) of the same model fitted without context, nats.

    Raises:
        ValueError: the prediction has no such density.
    """
    return -without_context(prediction).log_prob(prediction.target).double()


def without_context(prediction: Prediction) -> Distribution:
    """The density of the same model fitted without context.

    Raises:
        ValueError: the prediction has none.
    """
    if prediction.unconditional is None:
        raise ValueError("the control 'unconditional' was not fitted")
    return prediction.unconditional


def nll_x(prediction: Prediction) -> torch.Tensor:
    """-log p(x_t | context) of the model, nats.

    Raises:
        ValueError: the prediction has no x target.
    """
    return nll(_x(prediction))


def nll_x_baseline(prediction: Prediction) -> torch.Tensor:
    """-log p(x_t) of the baseline, nats.

    Raises:
        ValueError: the prediction has no x target.
    """
    return nll_baseline(_x(prediction))


def _x(prediction: Prediction) -> Prediction:
    if prediction.x is None:
        raise ValueError("the control 'x_target' was not fitted")
    return prediction.x


def dimensions(prediction: Prediction) -> torch.Tensor:
    """D of each target: a gain is compared by the dimension."""
    target = prediction.target
    return target.new_full(target.shape[:1], target.shape[-1]).double()


def cosine(prediction: Prediction) -> torch.Tensor:
    """Cosine between target and predicted mean, both norms floored at 1e-8."""
    mean, target = prediction.model.mean.double(), prediction.target.double()
    return (mean * target).sum(dim=-1) / (norms(mean) * norms(target))


def log_norm(prediction: Prediction) -> torch.Tensor:
    """Log-magnitude of the target, log max(norm, 1e-8)."""
    return norms(prediction.target).log()


def log_norm_mean(prediction: Prediction) -> torch.Tensor:
    """Log-magnitude of the predicted mean, log max(norm, 1e-8)."""
    return norms(prediction.model.mean).log()


def norms(vectors: torch.Tensor) -> torch.Tensor:
    """Norms of vectors [..., D], floored at 1e-8, float64 [...]."""
    return vectors.double().square().sum(dim=-1).sqrt().clamp_min(NORM_FLOOR)


def of_draws(
    density: Distribution,
    target: torch.Tensor,
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """A score of the samples of each density for its target, float64 [B].

    Args:
        density: batch shape [B] or [1], event shape [D].
        target: [B, D].
        score: of samples [b, S, D] and targets [b, D], [b].
    """
    from latentbench.metrics.draws import draw_blocks  # noqa: PLC0415 - figures need no torch

    scores = target.new_empty(len(target)).double()
    for rows, drawn in draw_blocks(density, target):
        scores[rows] = score(drawn, target[rows])
    return scores
