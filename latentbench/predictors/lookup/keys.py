"""Keys: how a context becomes one of a few."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import eigh

from latentbench.predictors.lookup.clusters import (
    FittedBuffers,
    centroids_of,
    gathered,
    nearest_centroid,
)
from latentbench.predictors.moments import lagged_products

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.predictors.lookup.options import LookupOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["Keys", "Quartiles", "ResidualClusters", "keys_of"]

QUARTILES = (0.25, 0.5, 0.75)


class Keys(FittedBuffers):
    """A key of every context, fitted on the training frames without their targets.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.
    """

    axes: torch.Tensor
    centre: torch.Tensor

    def __init__(self, options: LookupOptions, *, context_frames: int, dim: int) -> None:
        super().__init__()
        self.options = options
        self.of_window, _, _ = options.key.partition("-")
        if self.of_window == "pca":
            size = context_frames * dim
            axes = torch.eye(size, min(options.pca, size), dtype=torch.float64)
            self.register_buffer("axes", axes)
            self.register_buffer("centre", torch.zeros(size, dtype=torch.float64))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Fit the axes, where there are some, and the cells of the features."""
        if self.of_window == "pca":
            centre, axes = _principal_axes(train, self.axes.shape[-1], training.device)
            self.set_buffers(centre=centre, axes=axes)
        features = gathered(
            train,
            lambda context: self.features(context.to(self.device)).cpu(),
            seed=training.seed,
            progress=training.progress,
        )
        self.fit_cells(features, training.seed)

    @property
    def device(self) -> torch.device:
        """Of its buffers."""
        return next(self.buffers()).device

    def features(self, context: torch.Tensor) -> torch.Tensor:
        """What is quantised, float32 [B, F], of contexts [B, W, D]."""
        if self.of_window == "mean":
            return context.mean(-2)
        if self.of_window == "flat":
            return context.flatten(-2)
        if self.of_window == "pca":
            return ((context.flatten(-2).double() - self.centre) @ self.axes).float()
        return context[..., -1, :]

    @abstractmethod
    def fit_cells(self, features: NDArray[np.float32], seed: int) -> None:
        """Fit the quantiser of features [N, F]."""

    @abstractmethod
    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """The key of each of contexts [B, W, D], int64 [B]."""


class ResidualClusters(Keys):
    """Levels of k-means, each on what the one before left; the key is the code of all of them.

    One level is plain k-means.
    """

    centroids: torch.Tensor

    def __init__(self, options: LookupOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.levels = options.levels if options.key == "rvq" else 1
        width = self.features(torch.zeros(1, context_frames, dim)).shape[-1]
        self.register_buffer("centroids", torch.zeros(self.levels, 1, width))

    def fit_cells(self, features: NDArray[np.float32], seed: int) -> None:
        """Fit one level after another."""
        levels = []
        left = torch.from_numpy(features)
        for _ in range(self.levels):
            levels.append(centroids_of(left.numpy(), self.options.clusters, seed))
            left = left - levels[-1][nearest_centroid(left, levels[-1])]
        self.set_buffers(centroids=torch.stack(levels))

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """The code, with the first level as its highest digit."""
        left = self.features(context)
        key = torch.zeros(len(left), dtype=torch.int64, device=left.device)
        for level in self.centroids:
            chosen = nearest_centroid(left, level)
            key = key * len(level) + chosen
            left = left - level[chosen]
        return key


class Quartiles(Keys):
    """The quarter of the training frames in which each feature lies: 4^F keys."""

    edges: torch.Tensor

    def __init__(self, options: LookupOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.register_buffer("edges", torch.zeros(self.axes.shape[-1], len(QUARTILES)))

    def fit_cells(self, features: NDArray[np.float32], seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        """Take the quartiles of each feature."""
        edges = np.quantile(features, QUARTILES, axis=0).T.astype(np.float32)
        self.set_buffers(edges=torch.from_numpy(np.ascontiguousarray(edges)))

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """The quarters as digits to base 4."""
        features = self.features(context)
        quarter = (features.unsqueeze(-1) > self.edges).sum(-1)
        digits = 4 ** torch.arange(len(self.edges), device=features.device)
        return (quarter * digits).sum(-1)


def keys_of(options: LookupOptions, *, context_frames: int, dim: int) -> Keys:
    """The keys that the options name."""
    kind = Quartiles if options.key == "pca-quartile" else ResidualClusters
    return kind(options, context_frames=context_frames, dim=dim)


def _principal_axes(
    train: TaskFrames, count: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [W D] and the first principal axes [W D, count] of flattened windows, float64."""
    lags = [train.horizon + age for age in range(train.context_frames)]
    products = lagged_products(train.latents, train.rows, [0, *lags], device)
    oldest_first = list(range(len(lags), 0, -1))
    size = len(lags) * train.dim
    scatter = products.scatter[oldest_first][:, :, oldest_first].reshape(size, size)
    _, vectors = eigh(scatter.cpu().numpy(), subset_by_index=[size - count, size - 1])
    axes = torch.from_numpy(np.ascontiguousarray(vectors[:, ::-1]))
    return products.means[oldest_first].flatten().cpu(), axes
