"""What a predicted density looked like at a target: how narrow, how sure, how far off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.scoring import unvalidated
from latentbench.predictors.densities import Components, components_of

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
    found = components_of(density) or _of_moments(density)
    if found is None:
        return np.full((4, len(target)), np.nan)
    found = found.expand(len(target))
    answers = found.log_joint(target).nan_to_num(nan=-math.inf).argmax(-1, keepdim=True)
    index = answers.unsqueeze(-1).expand(-1, -1, target.shape[-1])
    mean, sigma = (one.gather(-2, index).squeeze(-2) for one in (found.means, found.sigmas))
    floor = torch.as_tensor(found.floor, device=target.device).expand(found.sigmas.shape)
    log_sigma = sigma.double().log()
    at_clamp = log_sigma <= floor.gather(-2, index).squeeze(-2) + AT_CLAMP
    looks = torch.stack(
        [
            log_sigma.amin(-1),
            at_clamp.double().mean(-1),
            found.weights.double().amax(-1),
            ((target - mean) / sigma).square().mean(-1).sqrt(),
        ]
    )
    return looks.cpu().numpy()


def _of_moments(density: Distribution) -> Components | None:
    """Any other density as one Gaussian of its mean and variance, where it tells them."""
    try:
        return Components.single(density.mean, density.variance.sqrt())
    except NotImplementedError:
        return None
