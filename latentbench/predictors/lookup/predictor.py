"""The predictor `lookup`: the distribution of the target for each of a few keys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.predictors.lookup.clusters import (
    FittedBuffers,
    centroids_of,
    nearest_centroid,
    targets,
    windows,
)
from latentbench.predictors.lookup.keys import keys_of
from latentbench.predictors.lookup.table import KeyTable
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.moments import (
    require_finite,
    require_frames,
    target_moments,
)
from latentbench.predictors.predictor import Predictor
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from latentbench.predictors.lookup.options import LookupOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["Lookup"]

MIN_FRAMES = 2
CODE_FRAMES = 1_000_000
BITS = 21


class Lookup(Predictor):
    """A Gaussian for each key of a context, its mean and diagonal variance from training.

    With `target_codes` = C > 1 a mixture instead: C Gaussians, those of the clusters of the
    targets, are the same for all keys, and each key has its own weights, drawn towards the shares
    of the clusters among all frames. Fitting goes over the training frames once for the keys and
    once for the targets; nothing is trained by gradient descent.
    """

    options: LookupOptions
    blind: torch.Tensor

    def __init__(self, options: LookupOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.keys = keys_of(options, context_frames=context_frames, dim=dim)
        self.dealt = DealtKeys() if options.permuted else None
        self.table = KeyTable(
            dim, shrinkage=options.shrinkage, floor=options.floor, least=options.least_frames
        )
        self.mixture = TargetCodes(options, dim) if options.target_codes > 1 else None
        self.register_buffer("blind", torch.zeros((), dtype=torch.bool))

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Fit the keys, then count what followed each.

        Raises:
            LatentbenchError: fewer than two frames, or frames that are not finite.
        """
        require_frames(train, MIN_FRAMES, "lookup")
        moments = target_moments(train)
        require_finite(moments.variance(), train)
        self.to(training.device)
        self.blind.fill_(train.blind)
        if not train.blind:
            require_finite(_windows(train), train)
            self.keys.fit(train, training)
        with torch.no_grad():
            if self.dealt is not None and not train.blind:
                found = [self.keys(one) for _, one in windows(train, training.device)]
                self.dealt.fit(torch.cat(found))
            keys = torch.cat([self._keys(one) for _, one in windows(train, training.device)])
            self.table.fit(keys, moments.mean, moments.variance(), targets(train))
            if self.mixture is not None:
                self.mixture.fit(train, self.table, self.table.rows(keys), training.seed)
        if not train.blind:
            training.progress.say(self._remark(train.horizon))

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The density of each context, [B, W, D]; float64."""
        rows = self.table.rows(self._keys(context))
        if self.mixture is not None:
            mixture: DiagonalGaussianMixture = self.mixture(rows)
            return mixture
        means, variances = self.table.means[rows], self.table.variances[rows]
        return DiagonalGaussianMixture.single(means, 0.5 * variances.log())

    def facts(self, frames: TaskFrames) -> dict[str, float]:  # noqa: ARG002 - training tells
        """How many keys are in use, and the most that they can tell, nats."""
        count = self.table.in_use
        return {"keys in use": float(count), "ceiling": math.log(max(1, count))}

    def _keys(self, context: torch.Tensor) -> torch.Tensor:
        if self.blind:
            return torch.zeros(len(context), dtype=torch.int64, device=context.device)
        found: torch.Tensor = (self.dealt or self.keys)(context)
        return found

    def _remark(self, horizon: int) -> str:
        """How many keys there are, and what they can tell."""
        count, frames = self.table.in_use, self.table.frames
        rare = 100.0 * int(frames[0]) / max(1, int(frames.sum()))
        few = (
            f"; {rare:.1f} % of the frames have rarer keys" if self.options.least_frames > 1 else ""
        )
        told = f"can tell at most ln {count:,} = {math.log(max(1, count)):.2f} nats{few}."
        return f"lookup at k = {horizon}: {count:,} keys in use, which {told}"


class DealtKeys(FittedBuffers):
    """Keys that say nothing of the frames, as frequent as others: permuted, but the same again."""

    codes: torch.Tensor
    up_to: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("up_to", torch.ones(1, dtype=torch.float64))

    def fit(self, keys: torch.Tensor) -> None:
        """Take how frequent keys int64 [N] are."""
        codes, counts = torch.unique(keys, return_counts=True)
        self.set_buffers(codes=codes, up_to=counts.double().cumsum(0) / len(keys))

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """The key of each of contexts [B, W, D], by a hash of its newest frame, int64 [B]."""
        chance = (hashed_rows(context[:, -1], BITS).double() + 0.5) / 2**BITS
        place = torch.searchsorted(self.up_to, chance).clamp_max(len(self.codes) - 1)
        return self.codes[place]


class TargetCodes(FittedBuffers):
    """Clusters of the targets, and how often each followed a key.

    Args:
        options: of the plugin.
        dim: D.
    """

    logits: torch.Tensor
    means: torch.Tensor
    log_sigmas: torch.Tensor

    def __init__(self, options: LookupOptions, dim: int) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("logits", torch.zeros(1, 1, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(1, dim, dtype=torch.float64))
        self.register_buffer("log_sigmas", torch.zeros(1, dim, dtype=torch.float64))

    def fit(self, train: TaskFrames, table: KeyTable, rows: torch.Tensor, seed: int) -> None:
        """Cluster the targets and count.

        Args:
            train: N frames.
            table: of their keys, fitted.
            rows: of the table, one for each frame, int64 [N].
            seed: of the clusters.
        """
        random = np.random.default_rng(seed)
        which = np.arange(len(train))
        if len(which) > CODE_FRAMES:
            which = np.sort(random.choice(which, CODE_FRAMES, replace=False))
        centroids = centroids_of(train.targets(which).numpy(), self.options.target_codes, seed)
        codes = torch.cat([nearest_centroid(one, centroids) for _, one in targets(train)])
        codes = codes.to(rows.device)
        clusters = KeyTable(train.dim, shrinkage=0.0, floor=self.options.floor).to(rows.device)
        clusters.fit(codes, table.means[0], table.variances[0], targets(train))
        places = clusters.rows(codes) - 1
        count = clusters.in_use
        pairs = torch.bincount(rows * count + places, minlength=len(table.frames) * count)
        counts = pairs.reshape(-1, count).double()
        shares = counts.sum(0) / len(train)
        # A key may be followed by what never followed it in training, were it for half a frame.
        prior = max(self.options.shrinkage, 0.5)
        weights = (counts + prior * shares) / (counts.sum(-1, keepdim=True) + prior)
        self.set_buffers(
            logits=weights.log(),
            means=clusters.means[1:],
            log_sigmas=0.5 * clusters.variances[1:].log(),
        )

    def forward(self, rows: torch.Tensor) -> DiagonalGaussianMixture:
        """The mixture of each row of the table, [B]."""
        shape = (len(rows), *self.means.shape)
        return DiagonalGaussianMixture(
            self.logits[rows], self.means.expand(shape), self.log_sigmas.expand(shape)
        )


def _windows(frames: TaskFrames) -> torch.Tensor:
    """A number that is finite where all windows are."""
    sums = [one.double().sum() for _, one in windows(frames)]
    return torch.tensor(math.fsum(float(one) for one in sums))
