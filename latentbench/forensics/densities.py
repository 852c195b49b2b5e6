"""What a predicted density looked like at a target: how narrow, how sure, how far off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.scoring import unvalidated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.predictors import Predictor
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]

__all__ = ["DensityLook", "look_at"]

BATCH = 256
AT_CLAMP = 1e-4


@dataclass(frozen=True)
class DensityLook:
    """The densities of N frames, each array float64 [N]; nan where a density does not say.

    Attributes:
        log_sigma: the smallest log sigma of the component that answers for the target, the one
            of the largest responsibility.
        at_clamp: share of its dimensions whose log sigma is at the lower bound; 0 where there
            is no bound.
        weight: of the dominant component, 1 for a single Gaussian.
        sigmas: root mean square over D of (target - mean) / sigma of the component that
            answers: 1 where a density is as wide as it should be.
    """

    log_sigma: Floats
    at_clamp: Floats
    weight: Floats
    sigmas: Floats


def look_at(
    predictor: Predictor, frames: TaskFrames, which: NDArray[np.int64], device: torch.device
) -> DensityLook:
    """Look at the densities that `predictor`, on `device`, gives the frames numbered `which`."""
    looks = [np.empty((4, 0))]
    with torch.inference_mode(), unvalidated():
        for start in range(0, len(which), BATCH):
            some = which[start : start + BATCH]
            batch = frames.batch(some)
            density = predictor.densities(frames, some, batch.context.to(device))
            looks.append(_look(density, batch.target.to(device).double()))
    return DensityLook(*np.concatenate(looks, axis=1))


def _look(density: Distribution, target: torch.Tensor) -> NDArray[np.float64]:
    """Log sigma, share at the clamp, weight and distance in sigmas, [4, B]."""
    found = _components(density)
    if found is None:
        return np.full((4, len(target)), np.nan)
    weights, means, log_sigmas, bound = found
    z = (target.unsqueeze(-2) - means) * (-log_sigmas).exp()
    squares = z.square().sum(-1)
    joint = weights.log() - 0.5 * squares - log_sigmas.sum(-1)
    answers = joint.nan_to_num(nan=-math.inf).argmax(-1, keepdim=True)
    index = answers.unsqueeze(-1).expand(-1, -1, log_sigmas.shape[-1])
    answering = log_sigmas.gather(-2, index).squeeze(-2)
    looks = torch.stack(
        [
            answering.amin(-1),
            (answering <= bound + AT_CLAMP).double().mean(-1),
            weights.amax(-1),
            (squares.gather(-1, answers).squeeze(-1) / target.shape[-1]).sqrt(),
        ]
    )
    return looks.cpu().numpy()


def _components(
    density: Distribution,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float] | None:
    """Weights [B, K], means and log sigmas [B, K, D], float64, and the lower bound of the last."""
    if hasattr(density, "component_log_sigmas"):
        low = getattr(density, "bounds", (-math.inf, math.inf))[0]
        return (
            density.weights.double(),  # type: ignore[attr-defined] # those with the one have all
            density.component_means.double(),  # type: ignore[attr-defined]
            density.component_log_sigmas.double(),
            low,
        )
    try:
        mean, variance = density.mean.double(), density.variance.double()
    except NotImplementedError:
        return None
    log_sigma = 0.5 * variance.log().unsqueeze(-2)
    return mean.new_ones(len(mean), 1), mean.unsqueeze(-2), log_sigma, -math.inf
