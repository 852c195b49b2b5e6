"""What a rollout moves by: one vector drawn from a density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch.distributions import MixtureSameFamily

from latentbench.errors import UsageError
from latentbench.metrics.marginals import gaussian_marginals
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.student import StudentMixture

if TYPE_CHECKING:
    from torch.distributions import Distribution

__all__ = ["MODES", "Mode", "most_likely_component", "move"]

Mode = Literal["mean", "sample", "component"]
MODES: tuple[Mode, ...] = get_args(Mode)


def move(density: Distribution, mode: Mode) -> torch.Tensor:
    """Its mean, a sample of it, or the mean of its most likely component, [B, D].

    Raises:
        UsageError: the most likely component of a density that does not tell it.
    """
    if mode == "mean":
        return density.mean
    if mode == "sample":
        return density.sample()
    return most_likely_component(density)


def most_likely_component(density: Distribution) -> torch.Tensor:
    """The mean of the component of the largest weight, [B, D].

    A density tells it by a property `mode_component`, or, if it has one component only, by
    torch's `mode`. Mixtures of torch.distributions and of latentbench are known.

    Raises:
        UsageError: it tells neither.
    """
    told: torch.Tensor | None = getattr(density, "mode_component", None)
    if told is not None:
        return told
    if isinstance(density, SharedGaussian):
        return density.mean
    if isinstance(density, StudentMixture):
        return _heaviest(density.logits, density.component_means)
    if isinstance(density, MixtureSameFamily):
        weights, means = density.mixture_distribution.probs, density.component_distribution.mean
        return _heaviest(weights, means)
    rows = density.batch_shape[0] if density.batch_shape else 1
    if (parts := gaussian_marginals(density, rows)) is not None:
        return _heaviest(parts.weights, parts.means)
    try:
        return density.mode
    except NotImplementedError:
        raise UsageError(
            f"The density {type(density).__name__} does not tell its most likely component.",
            "Roll out by the mean or by samples, or give the density a property "
            "'mode_component' [B, D].",
        ) from None


def _heaviest(weights: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """The row of means [B, K, D] that has the largest of the weights [B, K]."""
    return means[torch.arange(len(means), device=means.device), weights.argmax(-1)]
