"""Random numbers that belong to a frame: a score that needs some is the same each time."""

from __future__ import annotations

import torch
from torch import nn

from latentbench.tensors import hashed_rows

__all__ = ["ROWS", "RandomTable"]

BITS = 12
ROWS = 1 << BITS


class RandomTable(nn.Module):
    """Rows of random numbers, shared by all frames, of which the target of a frame tells its own.

    So no score depends on the frames beside it, and the noise of different frames is independent.

    Args:
        rows: [ROWS, D].
    """

    rows: torch.Tensor

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, target: torch.Tensor, count: int) -> torch.Tensor:
        """So many rows for each of N frames, [count, N, D]."""
        first = hashed_rows(target, BITS)
        steps = torch.arange(count, device=target.device)
        return self.rows[(first + steps[:, None]) % ROWS]
