"""What stands beside the network: hashed tables of n-grams, or a dense control; how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.lookup.clusters import FittedBuffers
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.predictors.engram.options import EngramOptions

__all__ = [
    "DenseMemory",
    "NGramTables",
    "NGrams",
    "Read",
    "TableMemory",
    "places_read",
    "primes_from",
]

KERNEL, DILATION = 4, 3
EPSILON = 1e-6
BITS = 21

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


def places_read(context_frames: int) -> list[int]:
    """The frames of a window that are looked up: the newest, and those 3, 6 and 9 before it."""
    places = [context_frames - 1 - DILATION * step for step in range(KERNEL)]
    return [place for place in places if place >= 0]


class TableMemory(nn.Module):
    """The vectors of all n-grams that end at the frames looked up.

    Args:
        options: of the plugin.
        orders: the n.
        context_frames: W.
    """

    def __init__(self, options: EngramOptions, orders: Sequence[int], context_frames: int) -> None:
        super().__init__()
        self.places = places_read(context_frames)
        self.shuffled = options.memory == "shuffled"
        made: list[NGramTables] = []
        for n in orders:
            largest = int(made[-1].sizes.max()) if made else options.rows - 1
            made.append(NGramTables(options, n, after=largest))
        self.tables = tuple(made)
        self.rows = nn.ModuleList(made)
        self.width = len(orders) * options.hashes * options.row_width

    def forward(self, codes: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """[B, P, E] of codes [B, W] and their frames [B, W, D]; zeros where no n-gram ends."""
        found = []
        for place in self.places:
            seen = codes[:, : place + 1]
            for table in self.tables:
                short = seen.shape[-1] < table.n
                rows = seen.new_zeros(len(seen), len(table.sizes)) if short else table.places(seen)
                if self.shuffled:
                    rows = self._elsewhere(table, context[:, place])
                vectors = table(rows)
                found.append(torch.zeros_like(vectors) if short else vectors)
        return torch.stack(found, 1).reshape(len(codes), len(self.places), self.width)

    def _elsewhere(self, table: NGramTables, frame: torch.Tensor) -> torch.Tensor:
        """Rows that say nothing of the codes: by chance in training, else by a hash of the bits."""
        if self.training:
            chance = torch.rand(len(frame), len(table.sizes), device=frame.device)
            return (chance * table.sizes).long() + table.starts
        mixed = hashed_rows(frame, BITS).unsqueeze(-1) * table.multipliers[:, 0]
        return mixed % table.sizes + table.starts


class DenseMemory(nn.Module):
    """Two layers on the frames that the n-grams are of, with as many parameters as the tables.

    Args:
        orders: the n.
        context_frames: W.
        dim: D.
        width: E, of what comes out.
        parameters: as many as these, about.
    """

    def __init__(
        self, orders: Sequence[int], context_frames: int, dim: int, *, width: int, parameters: int
    ) -> None:
        super().__init__()
        self.places = places_read(context_frames)
        self.reach = max(orders)
        hidden = max(1, round((parameters - width) / (self.reach * dim + 1 + width)))
        self.layers = nn.Sequential(
            nn.Linear(self.reach * dim, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, codes: torch.Tensor, context: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - as the tables
        """[B, P, E] of frames [B, W, D]."""
        frames = F.pad(context, (0, 0, self.reach - 1, 0))
        seen = [frames[:, place : place + self.reach].flatten(1) for place in self.places]
        found: torch.Tensor = self.layers(torch.stack(seen, 1))
        return found


class Read(nn.Module):
    """The gate, and the convolution over the frames looked up.

    Args:
        width: E, of what was looked up.
        state: d, of the network's state.
        places: P, how many frames are looked up.
    """

    def __init__(self, width: int, state: int, places: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, state, bias=False)
        self.value = nn.Linear(width, state, bias=False)
        self.taps = nn.Parameter(torch.zeros(places, state))

    def gate(self, found: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """How open, [B, P], for what was looked up [B, P, E] and states [B, d]."""
        agreed = (_rms(self.key(found)) * _rms(states).unsqueeze(1)).sum(-1)
        agreed = agreed / states.shape[-1] ** 0.5
        opened: torch.Tensor = (agreed.sign() * (agreed.abs() + EPSILON).sqrt()).sigmoid()
        return opened

    def forward(self, found: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """What is added to the states, [B, d]."""
        values = self.gate(found, states).unsqueeze(-1) * self.value(found)
        past: torch.Tensor = (_rms(values) * self.taps).sum(1)
        added: torch.Tensor = values[:, 0] + F.silu(past)
        return added


def _rms(vectors: torch.Tensor) -> torch.Tensor:
    size = vectors.square().mean(-1, keepdim=True) + EPSILON
    return vectors * size.rsqrt()
