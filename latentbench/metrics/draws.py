r"""Draw samples of densities that do not depend on the batch they are drawn in.

The randomness of a frame is a function of its target alone. Two tables are made once, by numpy's
generator of a fixed seed: the quantiles \((i + ½)/M\) of the uniform and \(\Phi^{-1}((i + ½)/M)\)
of the normal distribution, M = 2^21, each in an order of its own. A hash of the bits of the target
says where in them a frame starts to read, and sample s reads a fixed distance further on. Targets
are the same bits on every device and in every batch, and so are the draws, up to rounding. Frames
of equal targets (digital silence) use equal randomness, and so do model and baseline (common
random numbers).

A sample takes D values that follow one another, so the draws of a frame are independent up to
1/M, and over many frames each dimension has the normal distribution almost exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from latentbench.device import seeded
from latentbench.predictors.densities import components_of
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.one_row import Repeated
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.distributions import Distribution

    from latentbench.predictors.densities import Components

__all__ = ["SAMPLES", "draw_blocks", "row_blocks", "uniform"]

SAMPLES = 32

PLACES = 21  # bits of a place in a table
TABLE_SIZE = 1 << PLACES
SEED = 20_070_101
NORMAL, CHOICE, UNIFORM = range(3)  # which table

# A block takes a few MiB on a processor; elsewhere few calls matter more.
BLOCK_VALUES = {"cpu": 1 << 19}
BLOCK_VALUES_ELSEWHERE = 1 << 24

# Density -> what was asked of it, seed and samples, and what it drew.
_DRAWN: WeakKeyDictionary[Distribution, tuple[tuple[int, int], torch.Tensor]] = WeakKeyDictionary()


def draw_blocks(
    density: Distribution, target: torch.Tensor, samples: int = SAMPLES
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Draw from every density of a batch, some rows at a time to bound memory.

    Gaussians of a shared covariance and mixtures of diagonal ones are drawn as the module says.
    Any other density is drawn by its own `sample`, under a seed made of the targets of the
    batch: its draws repeat but are others where the batch or the device is.

    Args:
        density: batch shape [B] or [1], event shape [D].
        target: [B, D].
        samples: S.

    Yields:
        Rows of the batch and their draws, [rows, S, D]; nan where weights are not finite.
    """
    dim = target.shape[-1]
    keys = hashed_rows(target, PLACES)
    mixture = components_of(density)
    plain = mixture is not None and mixture.independent and mixture.degrees is None
    if isinstance(density, Repeated) and isinstance(density.base, SharedGaussian):
        density = density.base
    if not plain and not isinstance(density, SharedGaussian):
        drawn = _sampled(density, keys, samples).expand(samples, *target.shape).transpose(0, 1)
    for rows in row_blocks(target, samples * dim):
        if plain and mixture is not None:
            yield rows, _from_mixture(mixture.expand(len(target)).rows(rows), keys[rows], samples)
        elif isinstance(density, SharedGaussian):
            noise = _read(NORMAL, keys[rows], samples, dim) @ density.factor.float().mT
            yield rows, density.mean.expand(target.shape)[rows].unsqueeze(1) + noise
        else:
            yield rows, drawn[rows].clone()


def uniform(target: torch.Tensor, count: int) -> torch.Tensor:
    """Uniform numbers of (0, 1) for each target of [B, D], float64 [B, count]."""
    return _read(UNIFORM, hashed_rows(target, PLACES), 1, count).squeeze(1).double()


def row_blocks(batch: torch.Tensor, values_per_row: int) -> Iterator[slice]:
    """Cut a batch [B, ...] into slices whose blocks of values suit its device."""
    values = BLOCK_VALUES.get(batch.device.type, BLOCK_VALUES_ELSEWHERE)
    size = max(1, values // max(1, values_per_row))
    for start in range(0, len(batch), size):
        yield slice(start, min(start + size, len(batch)))


def _from_mixture(mixture: Components, keys: torch.Tensor, samples: int) -> torch.Tensor:
    rows, components, dim = mixture.means.shape
    drawn = _read(NORMAL, keys, samples, dim)
    up_to = mixture.weights.double().cumsum(-1)
    chance = _read(CHOICE, keys, samples, 1).double() * up_to[:, None, -1:]
    chosen = (chance >= up_to[:, None, :-1]).sum(-1)
    chosen += components * torch.arange(rows, device=keys.device)[:, None]
    mean, sigma = (
        one.float().reshape(-1, dim).index_select(0, chosen.flatten()).reshape(drawn.shape)
        for one in (mixture.means, mixture.sigmas)
    )
    sound = mixture.weights.isfinite().all(-1)
    return drawn.mul_(sigma).add_(mean).masked_fill_(~sound[:, None, None], torch.nan)


def _sampled(density: Distribution, keys: torch.Tensor, samples: int) -> torch.Tensor:
    """[S, B or 1, D] by the density's own sampler; the process's generators are left alone.

    They are kept for as long as the density lives, since several metrics ask for the same.
    """
    asked = int(keys.sum()), samples
    kept = _DRAWN.get(density)
    if kept is None or kept[0] != asked:
        with seeded(asked[0], keys.device):
            kept = asked, density.sample(torch.Size([samples]))
        _DRAWN[density] = kept
    return kept[1]


def _read(which: int, keys: torch.Tensor, samples: int, count: int) -> torch.Tensor:
    """Values of a table, float32 [B, samples, count], in rows from where the keys say."""
    table = _table(which, keys.device)
    apart = torch.arange(samples, device=keys.device) * (TABLE_SIZE // samples)
    place = (keys.unsqueeze(-1) + apart) % (TABLE_SIZE - count + 1)
    # As fast as copying: advanced indexing would gather value by value.
    rows = table.unfold(0, count, 1).index_select(0, place.flatten())
    return rows.reshape(*place.shape, count)


@lru_cache(maxsize=6)
def _table(which: int, device: torch.device) -> torch.Tensor:
    order = np.random.default_rng((SEED, which)).permutation(TABLE_SIZE)
    with torch.inference_mode(mode=False):
        quantiles = (torch.from_numpy(order).double() + 0.5) / TABLE_SIZE
        values = torch.special.ndtri(quantiles) if which == NORMAL else quantiles
        return values.float().to(device)
