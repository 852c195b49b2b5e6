"""Moments of the training frames, which is all that closed-form predictors need of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from latentbench.latents import Latents
    from latentbench.tasks import TaskFrames

__all__ = [
    "LaggedProducts",
    "Moments",
    "chunks",
    "lagged_products",
    "require_finite",
    "require_frames",
    "seen",
    "taps",
    "target_moments",
]

CHUNK_VALUES = 1 << 21


class Moments:
    """Running mean and sum of squared deviations of each dimension, float64 [D].

    Chunks are merged by their own means and deviations, never as E[x^2] - E[x]^2, so a large
    mean costs no digits (Chan, Golub & LeVeque 1983, eq. 2.1).
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._deviations = torch.zeros(dim, dtype=torch.float64)

    def update(self, values: torch.Tensor) -> None:
        """Take more rows, [N, D] of any floating dtype."""
        added = len(values)
        if not added:
            return
        values = values.to(torch.float64)
        mean = values.mean(0)
        shift = mean - self.mean
        total = self.count + added
        self._deviations += (values - mean).square().sum(0)
        self._deviations += shift.square() * (self.count * added / total)
        self.mean += shift * (added / total)
        self.count = total

    def variance(self) -> torch.Tensor:
        """The unbiased variance (n - 1) of each dimension, float64 [D]; nan below two rows."""
        divisor = float(self.count - 1) if self.count > 1 else float("nan")
        return self._deviations / divisor


def target_moments(frames: TaskFrames) -> Moments:
    """The moments of every target."""
    moments = Moments(frames.dim)
    for which in chunks(frames):
        moments.update(frames.targets(which))
    return moments


def chunks(frames: TaskFrames) -> Iterator[NDArray[np.int64]]:
    """The numbers of all frames, so many at a time that [N, D] of float64 take 16 MiB."""
    size = max(1, CHUNK_VALUES // max(1, frames.dim))
    for start in range(0, len(frames), size):
        yield np.arange(start, min(start + size, len(frames)), dtype=np.int64)


def taps(frames: TaskFrames) -> dict[int, float]:
    """The weight of each frame x_{t-lag} in the target of frame t, by lag."""
    return {0: 1.0, frames.step: -1.0} if frames.target == "delta" else {0: 1.0}


def seen(frames: TaskFrames, which: NDArray[np.int64], age: int = 0) -> torch.Tensor:
    """Of each window the frame `age` before its newest, x_{t-k-age}, float32 [B, D].

    Zeros where `frames` are without context.
    """
    rows = frames.rows[which] - frames.horizon - age
    gathered = frames.latents.gather(rows)
    return gathered.zero_() if frames.blind else gathered


def require_frames(frames: TaskFrames, least: int, name: str) -> None:
    """Refuse to fit on too few frames.

    Raises:
        LatentbenchError: there are fewer than `least`.
    """
    if len(frames) < least:
        raise LatentbenchError(
            f"The predictor '{name}' at horizon {frames.horizon} needs at least {least} training "
            f"frames and has {len(frames)}.",
            "Use more or longer utterances, a smaller horizon, or fewer dimensions "
            "(a pca transform, task.context_frames).",
        )


def require_finite(statistics: torch.Tensor, frames: TaskFrames) -> None:
    """Refuse statistics of latents that hold infinite or nan values.

    Raises:
        LatentbenchError: one of the numbers is not finite.
    """
    if not bool(statistics.isfinite().all()):
        raise LatentbenchError(
            f"The training frames at horizon {frames.horizon} hold values that are not finite.",
            "The latents are damaged or the encoder gave them so: remove the store with "
            "'latentbench cache' and encode again.",
        )


@dataclass(frozen=True)
class LaggedProducts:
    """Moments of the frames x_{t-a} over N rows t, for each lag a of a list of A lags.

    Attributes:
        count: N.
        means: float64 [A, D].
        scatter: float64 [A, D, A, D], sums of products of deviations from the means.
    """

    count: int
    means: torch.Tensor
    scatter: torch.Tensor


def lagged_products(
    latents: Latents, rows: NDArray[np.int64], lags: Sequence[int], device: torch.device
) -> LaggedProducts:
    """The moments at `lags`, accumulated in float64 in one pass over `rows`.

    Windows of one run of frames slide over the same rows, so the sum over t of x_{t-a} x_{t-b}^T
    hardly depends on a and b but through b - a: moving both by one adds a product at the start of
    each run and takes away one at its end. So only one sum per distance b - a is taken over all
    frames, and the others follow from it exactly: W + k products of [D, N] by [N, D] instead of
    W (W + 1) / 2 and more. Frames are taken relative to a mean of some of them, so a large offset
    costs no digits.

    Args:
        latents: where the rows are.
        rows: N row numbers t, at least one; cheap where they come in runs, exact in any order.
        lags: ascending, the smallest 0; every row t - lag must exist.
        device: where the products are computed.
    """
    return _Sums(latents, lags, device).moments(rows)


class _Sums:
    def __init__(self, latents: Latents, lags: Sequence[int], device: torch.device) -> None:
        self.latents = latents
        self.device = device
        self.lags = list(lags)
        self.distances = sorted({b - a for a in lags for b in lags if b >= a})
        self.chunk = max(1, 2 * CHUNK_VALUES // max(1, latents.dim))
        self.offset = torch.zeros(latents.dim, dtype=torch.float64, device=device)

    def moments(self, rows: NDArray[np.int64]) -> LaggedProducts:
        self.offset = self._gather(rows[: self.chunk]).mean(0)
        sums, base = self._base(rows)
        breaks = np.flatnonzero(np.diff(rows) != 1)
        first = rows[np.concatenate([[0], breaks + 1])]
        last = rows[np.concatenate([breaks, [len(rows) - 1]])]
        size, dim = len(self.lags), self.latents.dim
        scatter = sums.new_zeros((size, dim, size, dim))
        for distance, product in base.items():
            self._slide(distance, product, first, last, scatter)
        means = sums / len(rows)
        scatter -= len(rows) * torch.einsum("ad,be->adbe", means, means)
        return LaggedProducts(len(rows), means + self.offset, scatter)

    def _base(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Sums of x_{t-a}, [A, D], and by distance the sum of x_t x_{t-distance}^T."""
        dim = self.latents.dim
        sums = self.offset.new_zeros((len(self.lags), dim))
        base = {distance: self.offset.new_zeros((dim, dim)) for distance in self.distances}
        for start in range(0, len(rows), self.chunk):
            part = rows[start : start + self.chunk]
            now = self._gather(part)
            for distance in self.distances:
                then = self._gather(part - distance)
                base[distance].addmm_(now.mT, then)
                if distance in self.lags:
                    sums[self.lags.index(distance)] += then.sum(0)
        return sums, base

    def _slide(
        self,
        distance: int,
        product: torch.Tensor,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        scatter: torch.Tensor,
    ) -> None:
        """From the sum of x_t x_{t-distance}^T to those of x_{t-a} x_{t-a-distance}^T."""
        position = {lag: number for number, lag in enumerate(self.lags)}
        wanted = [a for a in self.lags if a + distance in position]
        for a in range(wanted[-1] + 1):
            if a:
                self._add(product, first - a, distance, 1.0)
                self._add(product, last - a + 1, distance, -1.0)
            if a in wanted:
                here, there = position[a], position[a + distance]
                scatter[there, :, here] = product.mT
                scatter[here, :, there] = product

    def _add(
        self, product: torch.Tensor, rows: NDArray[np.int64], distance: int, sign: float
    ) -> None:
        for start in range(0, len(rows), self.chunk):
            part = rows[start : start + self.chunk]
            product.addmm_(self._gather(part).mT, self._gather(part - distance), alpha=sign)

    def _gather(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return self.latents.gather(rows).to(self.device).double() - self.offset
