"""Hashed n-grams of codes, and the tables of vectors that they are looked up in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from latentbench.predictors.lookup.clusters import FittedBuffers

if TYPE_CHECKING:
    from latentbench.predictors.engram.options import EngramOptions

__all__ = ["NGramTables", "NGrams", "primes_from"]

LARGEST_MULTIPLIER = 1 << 31
SEED = 20_070_101
DEVIATION = 0.02  # of the rows at first, as of any embedding


class NGrams(FittedBuffers):
    """The ids of the n-grams that end at a frame, and which of them training saw.

    Args:
        n: codes of an n-gram.
        codes: there are, so that n of them make one number below codes ** n.
    """

    seen: torch.Tensor

    def __init__(self, n: int, codes: int) -> None:
        super().__init__()
        self.n = n
        self.codes = codes
        self.register_buffer("seen", torch.zeros(0, dtype=torch.int64))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The n-gram that ends at the last of codes int64 [..., T], T >= n, as a number."""
        found = torch.zeros_like(codes[..., 0])
        for code in codes[..., -self.n :].unbind(-1):
            found = found * self.codes + code
        return found

    def codes_of(self, grams: torch.Tensor) -> torch.Tensor:
        """The codes of n-grams, int64 [..., n]."""
        powers = self.codes ** torch.arange(self.n - 1, -1, -1, device=grams.device)
        return grams.unsqueeze(-1) // powers % self.codes

    def known(self, grams: torch.Tensor) -> torch.Tensor:
        """Whether training saw each n-gram, bool [...]."""
        return torch.isin(grams, self.seen)


class NGramTables(nn.Module):
    """One table per hash of an n-gram: XOR of codes times odd multipliers, modulo a prime.

    Hashing as in the public demonstration code of Engram (DeepSeek, 2026). Two n-grams that share
    a row of one table mostly do not in another, whose multipliers and prime are others.

    Args:
        options: of the plugin.
        n: codes of an n-gram.
        after: the largest prime that another n took; all primes are above it.
    """

    multipliers: torch.Tensor
    sizes: torch.Tensor
    starts: torch.Tensor

    def __init__(self, options: EngramOptions, n: int, after: int) -> None:
        super().__init__()
        self.n = n
        primes = primes_from(after + 1, options.hashes)
        random = np.random.default_rng([SEED, n])
        odd = 2 * random.integers(LARGEST_MULTIPLIER, size=(options.hashes, n)) + 1
        self.register_buffer("multipliers", torch.from_numpy(odd), persistent=False)
        self.register_buffer("sizes", torch.tensor(primes), persistent=False)
        starts = np.cumsum([0, *primes])
        self.register_buffer("starts", torch.from_numpy(starts[:-1]), persistent=False)
        self.rows = nn.Embedding(int(starts[-1]), options.row_width)
        nn.init.normal_(self.rows.weight, std=DEVIATION)

    def places(self, codes: torch.Tensor) -> torch.Tensor:
        """The row of each hash, int64 [..., hashes], for codes [..., T] of which n count."""
        mixed = torch.zeros_like(codes[..., :1])
        for code, odd in zip(codes[..., -self.n :].unbind(-1), self.multipliers.mT, strict=True):
            mixed = mixed ^ ((code.unsqueeze(-1) + 1) * odd)
        return mixed % self.sizes + self.starts

    def collisions(self, codes: torch.Tensor) -> float:
        """The share of distinct n-grams [N, n] with another in their row, a mean over tables.

        Of uniform hashing into tables of m rows it would be 1 - (1 - 1/m)^(N - 1).
        """
        places = self.places(codes)
        shared = places.flatten().bincount()[places] > 1
        return float(shared.double().mean())

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """The vectors of rows [..., hashes] one behind another, [..., hashes row_width]."""
        found: torch.Tensor = self.rows(places)
        return found.flatten(-2)


def primes_from(least: int, count: int) -> list[int]:
    """The first primes that are not below a number."""
    found: list[int] = []
    candidate = max(least, 2)
    while len(found) < count:
        if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1)):
            found.append(candidate)
        candidate += 1
    return found
