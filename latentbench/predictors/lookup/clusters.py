"""Centroids of k-means, by scikit-learn as in Phase 0, and the nearest of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

__all__ = ["FittedBuffers", "centroids_of", "gathered", "nearest_centroid"]

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


def centroids_of(features: NDArray[np.float32], count: int, seed: int) -> torch.Tensor:
    """The centroids of k-means (Lloyd 1982), float32 [K, F].

    The best of 10 starts by k-means++, at most 100 iterations each; above a million frames by
    minibatches (Sculley 2010).

    Args:
        features: [N, F], finite, N >= 1.
        count: of centroids; K is N where there are fewer features.
        seed: of the starts.
    """
    settings = {
        "n_clusters": min(count, len(features)),
        "n_init": STARTS,
        "max_iter": ITERATIONS,
        "random_state": seed,
    }
    method = (
        KMeans(**settings)
        if len(features) <= FEW_FRAMES
        else MiniBatchKMeans(batch_size=MINIBATCH, **settings)
    )
    with warnings.catch_warnings():
        # Of fewer distinct features than centroids: some are there twice, and one of them is used.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: NDArray[np.float32] = method.fit(features).cluster_centers_
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))


def nearest_centroid(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The number of the centroid [K, F] nearest to each of features [B, F], int64 [B]."""
    return _squares(features, centroids).argmin(-1)


def _squares(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
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
    which = np.arange(len(frames), dtype=np.int64)
    if len(which) > limit:
        which = np.sort(np.random.default_rng(seed).choice(which, limit, replace=False))
        if progress is not None:
            progress.say(f"Clusters are fitted on {limit:,} of {len(frames):,} frames.")
    found = np.empty((len(which), width), dtype=np.float32)
    step = max(1, CHUNK_VALUES // (frames.context_frames * frames.dim))
    for start in range(0, len(which), step):
        part = which[start : start + step]
        found[start : start + len(part)] = feature(frames.batch(part).context).numpy()
    return found
