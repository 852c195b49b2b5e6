"""What stands beside the network: tables of n-grams or a dense control, and how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.engram.tables import NGramTables
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.predictors.engram.options import EngramOptions

__all__ = ["DenseMemory", "Read", "TableMemory", "places_read"]

KERNEL, DILATION = 4, 3
EPSILON = 1e-6
BITS = 21


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
    scaled: torch.Tensor = vectors * size.rsqrt()
    return scaled
