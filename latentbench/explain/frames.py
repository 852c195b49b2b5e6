"""Measure single frames: how unusual the context is, and how sure the model's answer.

A context is measured in units of the train frames, each dimension to mean 0 and deviation 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.scoring import unvalidated
from latentbench.predictors.densities import Components, components_of
from latentbench.predictors.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.predictors import Predictor
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]

__all__ = ["Contexts", "Looks", "degenerate_frames", "densities_at", "evenly"]

MOMENT_FRAMES = 200_000
CHUNK_VALUES = 1 << 22
BATCH = 256
AT_CLAMP = 1e-4


@dataclass(frozen=True)
class Looks:
    """Measurements of N frames, each float64 [N]; nan where a density does not say.

    Attributes:
        context_norm: of the flattened context.
        context_distance: root mean square over W·D of the standardised context; 1 is typical.
        distance_quantile: share of the train contexts that are less distant.
        nearest: distance, in the same unit, to the nearest train context of another utterance;
            inf where there is none.
        log_sigma: the smallest of the component that answers for the target, the one of the
            largest responsibility.
        at_clamp: share of its dimensions whose log sigma is at the lower bound; 0 where there
            is no bound.
        weight: of the dominant component, 1 for a single Gaussian.
        sigmas: root mean square over D of (target - mean) / sigma of the component that
            answers: 1 where a density is as wide as it should be.
    """

    context_norm: Floats
    context_distance: Floats
    distance_quantile: Floats
    nearest: Floats
    log_sigma: Floats
    at_clamp: Floats
    weight: Floats
    sigmas: Floats

    def part(self, which: slice) -> Looks:
        """Those of some of the frames."""
        return Looks(*(getattr(self, one.name)[which] for one in fields(self)))

    def of(self, place: int) -> dict[str, float]:
        """Those of one frame, by name."""
        return {one.name: float(getattr(self, one.name)[place]) for one in fields(self)}


class Contexts:
    """The contexts of a task in units of the train frames.

    Args:
        train: frames whose newest context frames are the measure: all of them, or 200,000
            evenly spaced ones. A constant dimension is left in its own unit.
    """

    def __init__(self, train: TaskFrames) -> None:
        self.train = train
        moments = Moments(train.dim)
        chosen = train.rows[evenly(len(train), MOMENT_FRAMES)] - train.horizon
        for rows in _chunks(chosen, train.dim):
            moments.update(train.latents.gather(rows))
        self.mean = moments.mean
        deviation = moments.variance().sqrt()
        self.deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def distances(self, frames: TaskFrames, count: int) -> tuple[Floats, Floats]:
        """Of the first `count` contexts: standardised distance and plain norm, each [count]."""
        window = np.arange(-frames.context_frames + 1, 1, dtype=np.int64) - frames.horizon
        windows = frames.rows[:count, None] + window
        rows, where = np.unique(windows, return_inverse=True)
        squares, norms = [np.empty(0)], [np.empty(0)]
        for chunk in _chunks(rows, frames.dim):
            latents = frames.latents.gather(chunk).double()
            norms.append(latents.square().sum(1).numpy())
            squares.append(self._standardised(latents).square().mean(1).numpy())
        where = where.reshape(windows.shape)
        distance = np.sqrt(np.concatenate(squares)[where].mean(1))
        return distance, np.sqrt(np.concatenate(norms)[where].sum(1))

    def nearest(
        self, frames: TaskFrames, which: Numbers, *, search: int, device: torch.device
    ) -> Floats:
        """The distance to the nearest train context of each frame, by an exact blockwise search.

        Args:
            frames: of either split.
            which: numbers of the frames asked about, [N].
            search: at most so many train contexts are looked at, evenly spaced; those of the
                same utterance are left out.
            device: where the products are computed.

        Returns:
            [N]; inf where there is no other utterance.
        """
        asked = self._flat(frames, which, device)
        own, theirs = _utterances(frames)[which], _utterances(self.train)
        best = torch.full((len(which),), math.inf, dtype=torch.float64, device=device)
        for block in _chunks(evenly(len(self.train), search), asked.shape[1]):
            contexts = self._flat(self.train, block, device)
            squares = (
                asked.square().sum(1, keepdim=True)
                + contexts.square().sum(1)
                - 2.0 * asked @ contexts.T
            ).clamp_min(0.0)
            same = torch.from_numpy(own[:, None] == theirs[block]).to(device)
            best = torch.minimum(best, squares.masked_fill(same, math.inf).amin(1))
        return (best / max(1, asked.shape[1])).sqrt().cpu().numpy()

    def _flat(self, frames: TaskFrames, which: Numbers, device: torch.device) -> torch.Tensor:
        """Standardised contexts, float64 [N, W D]."""
        return self._standardised(frames.batch(which).context).flatten(1).to(device)

    def _standardised(self, contexts: torch.Tensor) -> torch.Tensor:
        return (contexts.double() - self.mean) / self.deviation


def densities_at(
    predictor: Predictor, frames: TaskFrames, which: Numbers, device: torch.device
) -> tuple[Floats, ...]:
    """Measure the densities of the frames numbered `which`: the last four of `Looks`."""
    looks = [np.empty((4, 0))]
    with torch.inference_mode(), unvalidated():
        for start in range(0, len(which), BATCH):
            some = which[start : start + BATCH]
            batch = frames.batch(some)
            density = predictor.densities(frames, some, batch.context.to(device))
            looks.append(_look(density, batch.target.to(device).double()))
    return tuple(np.concatenate(looks, axis=1))


def degenerate_frames(frames: TaskFrames, which: Numbers) -> NDArray[np.bool_]:
    """Whether a frame changes nothing, its context repeats one frame, or its audio is zero."""
    batch = frames.batch(which)
    still = (batch.target == 0).all(-1).numpy()
    if batch.context.shape[1] > 1:
        still |= (batch.context == batch.context[:, :1]).flatten(1).all(-1).numpy()
    found: NDArray[np.bool_] = still | (frames.latents.energy[frames.rows[which]] == 0)
    return found


def evenly(count: int, wanted: int) -> Numbers:
    """At most `wanted` of 0..count-1, evenly spaced; all of them where they are fewer."""
    if not count:
        return np.empty(0, np.int64)
    spaced = np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64)
    return np.unique(spaced)


def _look(density: Distribution, target: torch.Tensor) -> Floats:
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
    looks = (
        log_sigma.amin(-1),
        at_clamp.double().mean(-1),
        found.weights.double().amax(-1),
        ((target - mean) / sigma).square().mean(-1).sqrt(),
    )
    return torch.stack(looks).cpu().numpy()


def _of_moments(density: Distribution) -> Components | None:
    """Any other density as one Gaussian of its mean and variance, where it tells them."""
    try:
        return Components.single(density.mean, density.variance.sqrt())
    except NotImplementedError:
        return None


def _utterances(frames: TaskFrames) -> Numbers:
    """A number for the utterance of each frame, the same for all its segments."""
    ids = np.array([one.id for one in frames.latents.utterances])
    numbers = np.unique(ids, return_inverse=True)[1].astype(np.int64)
    of_frame: Numbers = numbers[frames.utterance]
    return of_frame


def _chunks(values: Numbers, width: int) -> list[Numbers]:
    """Parts of at most 2^22 values of that width (32 MiB in float64), at least one each."""
    size = max(1, CHUNK_VALUES // max(1, width))
    return [values[start : start + size] for start in range(0, len(values), size)]
