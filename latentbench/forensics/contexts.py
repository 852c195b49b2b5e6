"""How unusual a context is: its norm, its distance from the train frames, its nearest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.predictors.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]

__all__ = ["ContextScale", "Nearest", "evenly", "nearest_contexts"]

MOMENT_FRAMES = 200_000
CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Nearest:
    """The train context closest to each of N contexts, other utterances only.

    Attributes:
        distance: float64 [N], root mean square over W·D of the standardised difference; inf
            where there is no other utterance.
        frame: int64 [N], number of its frame among the train frames; -1 likewise.
        searched: train contexts that were looked at.
    """

    distance: Floats
    frame: NDArray[np.int64]
    searched: int


def evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` of 0..count-1, evenly spaced; all of them where they are fewer."""
    if not count:
        return np.empty(0, np.int64)
    spaced = np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64)
    return np.unique(spaced)


class ContextScale:
    """Contexts in units of the train frames: each dimension to mean 0 and deviation 1.

    Args:
        train: frames whose newest context frames are the measure: all of them, or 200,000
            evenly spaced ones. A constant dimension is left in its own unit.
    """

    def __init__(self, train: TaskFrames) -> None:
        moments = Moments(train.dim)
        chosen = train.rows[evenly(len(train), MOMENT_FRAMES)] - train.horizon
        for rows in _chunks(chosen, train.dim):
            moments.update(train.latents.gather(rows))
        self.mean = moments.mean
        deviation = moments.variance().sqrt()
        self.deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def standardised(self, contexts: torch.Tensor) -> torch.Tensor:
        """Contexts [..., D] in these units, float64."""
        return (contexts.double() - self.mean) / self.deviation

    def distances(self, frames: TaskFrames, count: int) -> tuple[Floats, Floats]:
        """Of the first `count` contexts: standardised distance and plain norm, each [count].

        The distance is the root mean square over W·D of the standardised context, 1 for a
        typical one; the norm is that of the flattened context.
        """
        windows = _windows(frames, np.arange(count, dtype=np.int64))
        rows, where = np.unique(windows, return_inverse=True)
        squares, norms = [np.empty(0)], [np.empty(0)]
        for chunk in _chunks(rows, frames.dim):
            latents = frames.latents.gather(chunk).double()
            norms.append(latents.square().sum(1).numpy())
            squares.append(self.standardised(latents).square().mean(1).numpy())
        where = where.reshape(windows.shape)
        distance = np.sqrt(np.concatenate(squares)[where].mean(1))
        return distance, np.sqrt(np.concatenate(norms)[where].sum(1))


def nearest_contexts(
    scale: ContextScale,
    frames: TaskFrames,
    which: NDArray[np.int64],
    train: TaskFrames,
    *,
    search: int,
    device: torch.device,
) -> Nearest:
    """The nearest train context of each frame numbered `which`, by an exact blockwise search.

    Args:
        scale: the units.
        frames: of either split.
        which: numbers of the frames asked about, [N].
        train: frames whose contexts are searched; those of the same utterance are left out.
        search: at most so many of them are looked at, evenly spaced.
        device: where the products are computed.
    """
    asked = scale.standardised(frames.batch(which).context).flatten(1).to(device)
    own = _utterances(frames)[which]
    theirs = _utterances(train)
    candidates = evenly(len(train), search)
    best = torch.full((len(which),), float("inf"), dtype=torch.float64, device=device)
    frame = torch.full((len(which),), -1, dtype=torch.int64, device=device)
    for block in _chunks(candidates, asked.shape[1]):
        contexts = scale.standardised(train.batch(block).context).flatten(1).to(device)
        squares = (
            asked.square().sum(1, keepdim=True)
            + contexts.square().sum(1)
            - 2.0 * asked @ contexts.T
        ).clamp_min(0.0)
        same = torch.from_numpy(own[:, None] == theirs[block]).to(device)
        found, at = squares.masked_fill(same, float("inf")).min(1)
        frame = torch.where(found < best, torch.from_numpy(block).to(device)[at], frame)
        best = torch.minimum(best, found)
    distance = (best / max(1, asked.shape[1])).sqrt()
    return Nearest(distance.cpu().numpy(), frame.cpu().numpy(), len(candidates))


def _windows(frames: TaskFrames, which: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of the contexts of the frames numbered `which`, [N, W]."""
    window = np.arange(-frames.context_frames + 1, 1, dtype=np.int64) - frames.horizon
    rows: NDArray[np.int64] = frames.rows[which][:, None] + window
    return rows


def _utterances(frames: TaskFrames) -> NDArray[np.int64]:
    """A number for the utterance of each frame, the same for all its segments."""
    ids = np.array([one.id for one in frames.latents.utterances])
    numbers = np.unique(ids, return_inverse=True)[1].astype(np.int64)
    of_frame: NDArray[np.int64] = numbers[frames.utterance]
    return of_frame


def _chunks(values: NDArray[np.int64], width: int) -> list[NDArray[np.int64]]:
    """Parts of at most 2^22 values of that width (32 MiB in float64), at least one each."""
    size = max(1, CHUNK_VALUES // max(1, width))
    return [values[start : start + size] for start in range(0, len(values), size)]
