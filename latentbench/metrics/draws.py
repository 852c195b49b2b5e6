r"""Samples of predicted densities that do not depend on the batch they are drawn in.

The randomness of a frame is a function of its target alone. The bits of the target are hashed
to a 64-bit key, the counter-based generator SplitMix64 (Steele, Lea & Flood 2014) makes numbers
of key and sample, and these choose components and places in a fixed table of normal values.
Targets are the same bits on every device and in every batch, and so are the choices: the draws
agree between CPU and CUDA, and between batch sizes, up to rounding. Frames of equal targets
(digital silence) use equal randomness, and model and baseline use the same (common random
numbers).

The table holds the quantiles \(\Phi^{-1}((i + ½)/M)\), M = 2^21, in an order shuffled once. A
sample takes D values that follow one another from its place on, so that the draws of a frame
are independent up to 1/M, and over many frames each dimension has the normal distribution
almost exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.marginals import correlated_gaussian, diagonal_mixture, row_blocks
from latentbench.metrics.scoring import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.distributions import Distribution

    from latentbench.metrics.marginals import GaussianMarginals

__all__ = ["SAMPLES", "draw_blocks", "uniform"]

SAMPLES = 32

TABLE_SIZE = 1 << 21
TABLE_SEED = 20_070_101
GOLDEN = 0x9E3779B97F4A7C15
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
DOUBLE_BITS = 53


def draw_blocks(
    density: Distribution, target: torch.Tensor, samples: int = SAMPLES
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Draw from every density of a batch, some rows at a time to bound memory.

    latentbench's Gaussians and mixtures of diagonal ones are drawn as the module says. Any
    other density is drawn by its own `sample`, under a seed made of the targets of the batch:
    its draws repeat but are others where the batch or the device is.

    Args:
        density: batch shape [B] or [1], event shape [D].
        target: [B, D].
        samples: S.

    Yields:
        Rows of the batch and their draws, [rows, S, D]; nan where weights are not finite.
    """
    keys = _keys(target)
    mixture = diagonal_mixture(density, len(target))
    correlated = correlated_gaussian(density)
    if mixture is None and correlated is None:
        drawn = _sampled(density, keys, samples).expand(samples, *target.shape).transpose(0, 1)
    for rows in row_blocks(target, samples * target.shape[-1]):
        if mixture is not None:
            yield rows, _from_mixture(mixture.rows(rows), keys[rows], samples)
        elif correlated is not None:
            means, factor = correlated
            noise = _normal(_stream(keys[rows], 0, samples), target.shape[-1])
            yield rows, means.expand(target.shape)[rows].unsqueeze(1) + noise @ factor.mT
        else:
            yield rows, drawn[rows]


def uniform(target: torch.Tensor, count: int) -> torch.Tensor:
    """Uniform numbers of [0, 1) for each target of [B, D], float64 [B, count]."""
    # Far from the counters of `_from_mixture`.
    return _uniform(_stream(_keys(target), 1 << 32, count))


def _from_mixture(mixture: GaussianMarginals, keys: torch.Tensor, samples: int) -> torch.Tensor:
    weights, means, sigmas = mixture
    rows, components, dim = means.shape
    noise = _normal(_stream(keys, 0, samples), dim)
    if components == 1:
        drawn = means + sigmas * noise
    else:
        up_to = weights.double().cumsum(-1)
        chance = _uniform(_stream(keys, samples, samples)) * up_to[:, -1:]
        chosen = (chance.unsqueeze(-1) >= up_to[:, None, :-1]).sum(-1)
        chosen += components * torch.arange(rows, device=keys.device)[:, None]
        mean, sigma = (
            one.reshape(-1, dim).index_select(0, chosen.flatten()).reshape(noise.shape)
            for one in (means, sigmas)
        )
        drawn = noise.mul_(sigma).add_(mean)
    sound = weights.isfinite().all(-1)
    return drawn.masked_fill_(~sound[:, None, None], torch.nan)


def _sampled(density: Distribution, keys: torch.Tensor, samples: int) -> torch.Tensor:
    """[S, B or 1, D] by the density's own sampler; the process's generators are left alone."""
    with seeded(int(keys.sum()), keys.device):
        drawn: torch.Tensor = density.sample(torch.Size([samples]))
        return drawn


def _normal(random: torch.Tensor, dim: int) -> torch.Tensor:
    """Standard normal values, float32 [..., D], one row per 64-bit number."""
    table = _table(random.device)
    place = _shift(random, 1) % (TABLE_SIZE - dim + 1)
    # As fast as copying: advanced indexing would gather value by value.
    rows = table.unfold(0, dim, 1).index_select(0, place.flatten())
    return rows.reshape(*place.shape, dim)


@lru_cache(maxsize=2)
def _table(device: torch.device) -> torch.Tensor:
    order = np.random.default_rng(TABLE_SEED).permutation(TABLE_SIZE)
    with torch.inference_mode(mode=False):
        quantiles = (torch.from_numpy(order).double() + 0.5) / TABLE_SIZE
        normal: torch.Tensor = torch.special.ndtri(quantiles)
        return normal.float().to(device)


def _keys(target: torch.Tensor) -> torch.Tensor:
    """A 64-bit key per target [B, D]: its bits under a random linear form modulo 2^64."""
    bits = target.float().contiguous().view(torch.int32).long()
    factors = np.random.default_rng(TABLE_SEED).integers(
        -(2**63), 2**63 - 1, target.shape[-1], dtype=np.int64
    )
    return (bits * torch.from_numpy(factors | 1).to(target.device)).sum(-1)


def _stream(keys: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """SplitMix64: numbers start..start+count-1 of each key, int64 [B, count]."""
    counters = torch.arange(start + 1, start + count + 1, device=keys.device)
    state = keys.unsqueeze(-1) + counters * _signed(GOLDEN)
    state = (state ^ _shift(state, 30)) * _signed(MIX[0])
    state = (state ^ _shift(state, 27)) * _signed(MIX[1])
    return state ^ _shift(state, 31)


def _uniform(random: torch.Tensor) -> torch.Tensor:
    return _shift(random, 64 - DOUBLE_BITS).double() * 2.0**-DOUBLE_BITS


def _shift(values: torch.Tensor, by: int) -> torch.Tensor:
    """Logical right shift: torch's own keeps the sign."""
    return (values >> by) & ((1 << (64 - by)) - 1)


def _signed(constant: int) -> int:
    return constant - (1 << 64)
