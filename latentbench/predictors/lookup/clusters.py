"""Centroids of k-means, by scikit-learn as in Phase 0, and the nearest of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from latentbench.predictors.moments import chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

__all__ = [
    "FittedBuffers",
    "centroids_of",
    "gathered",
    "nearest_centroid",
    "squared_distances",
    "targets",
    "windows",
]

STARTS = 10
ITERATIONS = 100
FEW_FRAMES = 1_000_000  # up to here every frame is seen in every iteration
MINIBATCH = 4_096
GATHERED_VALUES = 1 << 29  # 2 GiB of float32
CHUNK_VALUES = 1 << 22


class FittedBuffers(nn.Module):
    """A module whose buffers have the sizes that fitting gave them, when loaded too."""

    def set_buffers(self, **tensors: torch.Tensor) -> None:
        """Set buffers by name, on the device of those there were."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.to(self.get_buffer(name).device))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            stored = state_dict.get(prefix + name)
            if stored is not None and buffer is not None:
                self._buffers[name] = buffer.new_empty(stored.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def centroids_of(
    features: NDArray[np.float32], count: int, seed: int, *, few: int = FEW_FRAMES
) -> torch.Tensor:
    """The centroids of k-means (Lloyd 1982), float32 [K, F].

    The best of 10 starts by k-means++, at most 100 iterations each; above a million frames by
    minibatches (Sculley 2010).

    Args:
        features: [N, F], finite, N >= 1.
        count: of centroids; K is N where there are fewer features.
        seed: of the starts.
        few: features up to which no minibatches are taken.
    """
    settings = {
        "n_clusters": min(count, len(features)),
        "n_init": STARTS,
        "max_iter": ITERATIONS,
        "random_state": seed,
    }
    method = (
        KMeans(**settings)
        if len(features) <= few
        else MiniBatchKMeans(batch_size=MINIBATCH, **settings)
    )
    with warnings.catch_warnings():
        # Of fewer distinct features than centroids: some are there twice, and one of them is used.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: NDArray[np.float32] = method.fit(features).cluster_centers_
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))


def nearest_centroid(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The number of the centroid [K, F] nearest to each of features [B, F], int64 [B]."""
    parts = torch.split(features, max(1, CHUNK_VALUES // len(centroids)))
    return torch.cat([squared_distances(one, centroids).argmin(-1) for one in parts])


def squared_distances(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Squared distances less |feature|^2, float64 [B, K]: in float64 none depends on the batch."""
    points = centroids.double()
    return points.square().sum(-1) - 2.0 * features.double() @ points.mT


def gathered(
    frames: TaskFrames,
    feature: Callable[[torch.Tensor], torch.Tensor],
    *,
    seed: int,
    most: int | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """A feature of every training window, or of as many drawn by chance as memory should hold.

    Args:
        frames: of training.
        feature: of windows [B, W, D], [B, F].
        seed: of the draw.
        most: rows that are wanted; by default 2 GiB of them.
        progress: to whom it is said that not all are used.
    """
    width = feature(frames.batch(np.arange(1)).context).shape[-1]
    limit = min(most or GATHERED_VALUES, GATHERED_VALUES // width)
    if len(frames) > limit:
        drawn = np.zeros(len(frames), dtype=np.bool_)
        drawn[np.random.default_rng(seed).choice(len(frames), limit, replace=False)] = True
        if progress is not None:
            progress.say(f"Clusters are fitted on {limit:,} of {len(frames):,} frames.")
        frames = frames.where(drawn)
    found = np.empty((len(frames), width), dtype=np.float32)
    for place, context in windows(frames):
        found[place] = feature(context).numpy()
    return found


def windows(
    frames: TaskFrames, device: torch.device | str = "cpu"
) -> Iterator[tuple[slice, torch.Tensor]]:
    """All contexts [B, W, D] on a device, some at a time, and where they stand."""
    size = max(1, CHUNK_VALUES // (frames.context_frames * frames.dim))
    for start in range(0, len(frames), size):
        place = slice(start, min(start + size, len(frames)))
        yield place, frames.batch(np.arange(place.start, place.stop)).context.to(device)


def targets(frames: TaskFrames) -> Iterator[tuple[slice, torch.Tensor]]:
    """All targets, some at a time, and where they stand."""
    for which in chunks(frames):
        yield slice(int(which[0]), int(which[-1]) + 1), frames.targets(which)
