"""Random numbers that belong to a frame: a score that needs some is the same each time."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ROWS", "RandomTable"]

ROWS = 4_096


class RandomTable(nn.Module):
    """Rows of random numbers, shared by all frames, of which the target of a frame tells its own.

    So no score depends on the frames beside it, and the noise of different frames is independent.

    Args:
        rows: [ROWS, D].
        generator: of the numbers by which a target tells its place.
    """

    rows: torch.Tensor
    places: torch.Tensor

    def __init__(self, rows: torch.Tensor, generator: torch.Generator) -> None:
        super().__init__()
        places = torch.randint(1 << 62, (rows.shape[1],), generator=generator)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("places", 2 * places + 1, persistent=False)

    def forward(self, target: torch.Tensor, count: int) -> torch.Tensor:
        """So many rows for each of N frames, [count, N, D]."""
        code = (target.double().view(torch.int64) * self.places).sum(-1)
        first = (code >> 40) % ROWS
        steps = torch.arange(count, device=target.device)
        return self.rows[(first + steps[:, None]) % ROWS]
