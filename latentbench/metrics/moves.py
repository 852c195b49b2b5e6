"""What a rollout moves by: one vector drawn from a density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch.distributions import MixtureSameFamily

from latentbench.errors import UsageError

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

    A density tells it by a property `mode_component`, as all of latentbench's do, or, if it has
    one component only, by torch's `mode`. Mixtures of torch.distributions are known.

    Raises:
        UsageError: it tells neither.
    """
    told: torch.Tensor | None = getattr(density, "mode_component", None)
    if told is not None:
        return told
    if isinstance(density, MixtureSameFamily):
        best = density.mixture_distribution.probs.argmax(-1)
        means = density.component_distribution.mean
        return means[torch.arange(len(means), device=means.device), best]
    try:
        return density.mode
    except NotImplementedError:
        raise UsageError(
            f"The density {type(density).__name__} does not tell its most likely component.",
            "Roll out by the mean or by samples, or give the density a property "
            "'mode_component' [B, D].",
        ) from None
