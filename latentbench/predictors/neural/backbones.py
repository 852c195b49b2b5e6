"""What reads the context: a flattened window, a recurrent network or a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

from latentbench.predictors.recycling_linear import RecyclingLinear

if TYPE_CHECKING:
    import torch

__all__ = ["FlattenedWindow", "RecurrentWindow"]


class FlattenedWindow(nn.Module):
    """All frames of a window at once through layers of GELU, as in `mdn`.

    Args:
        frames: W.
        dim: D.
        width: of the layers.
        layers: how many.
    """

    def __init__(self, frames: int, dim: int, *, width: int, layers: int) -> None:
        super().__init__()
        sizes = [frames * dim, *[width] * layers]
        self.layers = nn.ModuleList(map(RecyclingLinear, sizes[:-1], sizes[1:]))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """The state [B, width] of windows [B, W, D]."""
        hidden = window.flatten(-2)
        for layer in self.layers:
            hidden = F.gelu(layer(hidden))
        return hidden


class RecurrentWindow(nn.Module):
    """A gated recurrent network over the frames of a window (Cho et al. 2014).

    Args:
        dim: D.
        width: of the state.
        layers: how many.
    """

    def __init__(self, dim: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(dim, width, layers, batch_first=True)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """The state [B, width] after windows [B, W, D]."""
        states: torch.Tensor = self.recurrent(window)[0]
        return states[..., -1, :]
