"""The predictor `memory`: what followed the nearest of many keys, and a network beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.lookup.clusters import (
    FittedBuffers,
    centroids_of,
    gathered,
    nearest_centroid,
    squared_distances,
    targets,
    windows,
)
from latentbench.predictors.lookup.table import KeyTable
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.moments import require_finite, target_moments
from latentbench.predictors.neural.backbones import FlattenedWindow
from latentbench.predictors.standardised import StandardisedPredictor
from latentbench.predictors.training import train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from latentbench.predictors.lookup.options import MemoryOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

    # Mean and variance, float64, each [B, D] or broadcastable to it.
    Gaussian: TypeAlias = tuple[torch.Tensor, torch.Tensor]

__all__ = ["KeyedMemory", "MemoryPredictor", "mixture_moments"]

LAYERS = 2
FEW_FRAMES = 8_192  # up to here every frame is seen in every iteration: there are many keys


class MemoryPredictor(StandardisedPredictor):
    r"""One diagonal Gaussian per frame: of a memory, of a network, or of both.

    - `memory`: the moments of the mixture of the nearest keys' Gaussians (`KeyedMemory`)
    - `param`: a mean by two layers on the standardised window, and one sigma for all frames
    - `hybrid`: the moments of g times the memory and 1 - g times the network, g a network of the
      window; the memory is fitted first, then network and gate together
    - `residual`: the network is trained first; then a memory of what it leaves, (y - mean) / sigma,
      drawn towards mean 0 and variance 1, so that an empty memory leaves the network as it is

    Published as Phase 4; what is not published is said in docs/predictors.md.
    """

    options: MemoryOptions

    def __init__(self, options: MemoryOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.memory = KeyedMemory(options, dim)
        if options.kind != "memory":
            size = {"width": options.width, "layers": LAYERS}
            self.network = FlattenedWindow(context_frames, dim, **size)
            self.mean = nn.Linear(options.width, dim)
            self.log_sigma = nn.Parameter(torch.zeros(()))
        if options.kind == "hybrid":
            self.gate = nn.Sequential(
                nn.Linear(context_frames * dim, options.gate_width),
                nn.GELU(),
                nn.Linear(options.gate_width, 1),
            )

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Fit what `kind` names.

        Raises:
            LatentbenchError: fewer than two frames, frames that are not finite, or training
                diverged.
        """
        self.standardise_by(train_frames, "memory")
        self.to(training.device)
        kind = self.options.kind
        if kind in {"memory", "hybrid"}:
            moments = target_moments(train_frames)
            self.memory.fit(
                train_frames, training, (moments.mean, moments.variance()), targets(train_frames)
            )
        if kind != "memory":
            with torch.no_grad():
                self.log_sigma.copy_(0.5 * self.target_scale.square().mean().log())
            train(self, train_frames, training)
        if kind == "residual":
            nothing = torch.zeros(self.dim), torch.ones(self.dim)
            left = self._left(train_frames, training.device)
            self.memory.fit(train_frames, training, nothing, left)

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The Gaussian of each context, [B, W, D]; float64."""
        mean, variance = self._moments(context)
        log_sigma = 0.5 * variance.clamp_min(self.options.floor).log()
        return DiagonalGaussianMixture.single(mean, log_sigma.expand_as(mean))

    def _moments(self, context: torch.Tensor) -> Gaussian:
        kind = self.options.kind
        if kind == "memory":
            found: Gaussian = self.memory(context)
            return found
        shown = self.standardised(context)  # once: network and gate see the same noise
        if kind == "param":
            return self._told(shown)
        combined = self._gated if kind == "hybrid" else self._shifted
        return combined(shown, self.memory(context))

    def _told(self, shown: torch.Tensor) -> Gaussian:
        """The network's of standardised contexts, its variance [1]."""
        states = self.network(shown)
        mean = self.target_mean + self.target_scale * self.mean(states).double()
        return mean, (2.0 * self.log_sigma.double()).exp().unsqueeze(-1)

    def _shifted(self, shown: torch.Tensor, left: Gaussian) -> Gaussian:
        """The network's, moved and stretched by what it leaves, in units of its sigma."""
        mean, variance = self._told(shown)
        return mean + variance.sqrt() * left[0], variance * left[1]

    def _gated(self, shown: torch.Tensor, found: Gaussian) -> Gaussian:
        """The moments of both."""
        told = self._told(shown)
        gate = self.gate(shown.flatten(-2)).double().sigmoid()
        means = torch.stack([found[0], told[0]], -2)
        variances = torch.stack([found[1], told[1].expand_as(told[0])], -2)
        return mixture_moments(torch.cat([gate, 1.0 - gate], -1), means, variances)

    @torch.no_grad()
    def _left(
        self, frames: TaskFrames, device: torch.device
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """What the network leaves of all targets, in units of its sigma."""
        for place, context in windows(frames, device):
            mean, variance = self._told(self.standardised(context))
            true = frames.targets(np.arange(place.start, place.stop)).to(device)
            yield place, (true.double() - mean) / variance.sqrt()


class KeyedMemory(FittedBuffers):
    r"""Clusters of the newest frame, and mean and variance of what followed each in training.

    .. math::
        w = \mathrm{softmax}(-d_i^2 / T), \quad
        m = \sum_i w_i m_i, \quad v = \sum_i w_i (v_i + m_i^2) - m^2

    over the `nearest` keys i that training frames have, at distances d_i. Empty, it answers with
    mean 0 and variance 1.

    Args:
        options: of the plugin.
        dim: D.
    """

    centroids: torch.Tensor

    def __init__(self, options: MemoryOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        self.table = KeyTable(dim, shrinkage=options.shrinkage, floor=options.floor)
        self.register_buffer("centroids", torch.zeros(1, dim))

    def fit(
        self,
        frames: TaskFrames,
        training: Training,
        prior: Gaussian,
        values: Iterator[tuple[slice, torch.Tensor]],
    ) -> None:
        """Fit the keys, then take the moments.

        Args:
            frames: of training, N; where they are without context there is one key.
            training: its seed and device are used.
            prior: what keys are drawn towards, mean and variance [D].
            values: what is remembered of every frame, in pieces, each with its place among the N.

        Raises:
            LatentbenchError: contexts that are not finite.
        """
        if not frames.blind:
            options = self.options
            newest = gathered(frames, _newest, seed=training.seed, most=options.pairs)
            require_finite(torch.from_numpy(newest), frames)
            self.set_buffers(
                centroids=centroids_of(newest, options.keys, training.seed, few=FEW_FRAMES)
            )
        mean, variance = (one.double() for one in prior)
        # A key that no frame is nearest to, as the second at one place, would answer for it.
        used, keys = torch.unique(self._keys(frames), return_inverse=True)
        self.set_buffers(centroids=self.centroids[used])
        self.table.fit(keys, mean, variance, values)

    def forward(self, context: torch.Tensor) -> Gaussian:
        """Mean and variance for contexts [B, W, D], each float64 [B, D]."""
        squares = squared_distances(_newest(context), self.centroids)
        count = min(self.options.nearest, len(self.centroids))
        nearest, which = squares.topk(count, largest=False)
        weights = F.softmax(-nearest / self.options.temperature, -1)
        rows = self.table.rows(which)
        return mixture_moments(weights, self.table.means[rows], self.table.variances[rows])

    def _keys(self, frames: TaskFrames) -> torch.Tensor:
        """The nearest key of every frame, int64 [N]."""
        pieces = windows(frames, self.centroids.device)
        return torch.cat([nearest_centroid(_newest(one), self.centroids) for _, one in pieces])


def mixture_moments(
    weights: torch.Tensor, means: torch.Tensor, variances: torch.Tensor
) -> Gaussian:
    """Mean and variance [B, D] of mixtures of weights [B, K], means and variances [B, K, D]."""
    share = weights.unsqueeze(-1)
    mean = (share * means).sum(-2)
    apart = (means - mean.unsqueeze(-2)).square()
    return mean, (share * (variances + apart)).sum(-2)


def _newest(context: torch.Tensor) -> torch.Tensor:
    """The newest frames of contexts [B, W, D], [B, D]."""
    return context[..., -1, :]
