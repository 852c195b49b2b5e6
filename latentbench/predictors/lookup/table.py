"""What followed each key in training: counts, means and variances of the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.predictors.lookup.clusters import FittedBuffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["KeyTable"]


class KeyTable(FittedBuffers):
    r"""Mean and variance of the targets of each key, drawn towards those of all frames.

    .. math::
        \hat m_k = \frac{n_k m_k + a m}{n_k + a}, \qquad
        \hat v_k = \frac{\sum (y - m_k)^2 + \frac{n_k a}{n_k + a} (m_k - m)^2 + a v}{n_k + a}

    n_k frames have the key, of mean m_k; m and v are of all frames. It is as if every key had seen
    `shrinkage` = a frames of the marginal beside its own, per dimension (the conjugate prior of a
    Gaussian, Murphy 2012, §4.6.3.7, at its posterior mean of 1/v for large n). Row 0 is the
    marginal itself, for keys that training did not see.

    Args:
        dim: D.
        shrinkage: a.
        floor: smallest variance.
        least: frames that a key must have; one of fewer is as one that training did not see.
    """

    codes: torch.Tensor
    frames: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor

    def __init__(self, dim: int, *, shrinkage: float, floor: float, least: int = 1) -> None:
        super().__init__()
        self.least = least
        self.shrinkage = shrinkage
        self.floor = floor
        self.register_buffer("codes", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("frames", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("means", torch.zeros(1, dim, dtype=torch.float64))
        self.register_buffer("variances", torch.ones(1, dim, dtype=torch.float64))

    @property
    def in_use(self) -> int:
        """Keys that training saw."""
        return len(self.codes)

    def rows(self, keys: torch.Tensor) -> torch.Tensor:
        """The row of each key, int64 [B]; 0 of one that training did not see."""
        place = torch.searchsorted(self.codes, keys)
        known = torch.cat([self.codes, self.codes.new_full((1,), -1)])[place] == keys
        return torch.where(known, place + 1, 0)

    def fit(
        self,
        keys: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        targets: Iterable[tuple[slice, torch.Tensor]],
    ) -> None:
        """Take the moments.

        Args:
            keys: of the frames, int64 [N].
            mean: of all targets, float64 [D].
            variance: likewise.
            targets: in pieces, each with its place among the N.
        """
        mean, variance = mean.to(keys.device), variance.to(keys.device).clamp_min(self.floor)
        codes, counts = torch.unique(keys, return_counts=True)
        self.set_buffers(codes=codes[counts >= self.least])
        frames, total, squares = self._sums(self.rows(keys), mean, targets)
        count, prior = frames.double().unsqueeze(-1), self.shrinkage
        own = total / count.clamp_min(1.0)
        within = (squares - count * own.square()).clamp_min(0.0)
        apart = count * prior / (count + prior).clamp_min(1.0) * own.square()
        weight = (count + prior).clamp_min(torch.finfo(torch.float64).tiny)
        means = mean + count * own / weight
        variances = ((within + apart + prior * variance) / weight).clamp_min(self.floor)
        means[0], variances[0] = mean, variance
        self.set_buffers(frames=frames, means=means, variances=variances)

    def _sums(
        self,
        rows: torch.Tensor,
        mean: torch.Tensor,
        targets: Iterable[tuple[slice, torch.Tensor]],
    ) -> Iterator[torch.Tensor]:
        """Of the targets of each key, less that mean: how many [R], sums and squares [R, D]."""
        # On the CPU: CUDA adds in any order, so the same frames would give other bits each time.
        device, rows, mean = rows.device, rows.cpu(), mean.cpu()
        total = mean.new_zeros(self.in_use + 1, len(mean))
        squares = torch.zeros_like(total)
        for place, values in targets:
            away = values.cpu().double() - mean
            total.index_add_(0, rows[place], away)
            squares.index_add_(0, rows[place], away.square())
        frames = torch.bincount(rows, minlength=self.in_use + 1)
        return (one.to(device) for one in (frames, total, squares))
