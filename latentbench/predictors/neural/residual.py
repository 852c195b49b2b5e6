"""The network inside sampling heads: a residual MLP whose layer norms the state steers."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ResidualNetwork", "load_forward_derivatives"]

FREQUENCIES = 32
# Periods in the unit interval of time. Low ones only: a network that is smooth in time is right at
# its ends too, where few training draws are and one-step samples begin.
LOWEST, HIGHEST = 0.05, 1.0


class ResidualNetwork(nn.Module):
    r"""Residual blocks with adaptive layer norm (Peebles & Xie 2023; MAR, Li et al. 2024, §3.2).

    .. math::
        h \leftarrow h + g \odot \mathrm{MLP}((1 + a) \odot \mathrm{LN}(h) + b), \quad
        (a, b, g) = A\, \mathrm{SiLU}(c), \quad c = C s + \tfrac1n \sum_i e_i(t_i)

    Nothing starts at zero, so that a gradient reaches every parameter from the first step.

    Args:
        dim: D, of input and output.
        condition: width of the state s.
        times: n, how many times t in 0..1 the network is told.
        width: of h.
        blocks: how many.
    """

    def __init__(self, dim: int, condition: int, *, times: int, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, width)
        self.condition = nn.Linear(condition, width)
        self.times = nn.ModuleList(_TimeEmbedding(width) for _ in range(times))
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.steer = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, dim)

    def forward(self, x: torch.Tensor, states: torch.Tensor, *times: torch.Tensor) -> torch.Tensor:
        """[..., D].

        Args:
            x: [..., D].
            states: [..., condition], broadcast against x; what they share is computed once.
            times: each [..., 1], broadcast likewise.
        """
        told = self.condition(states)
        for embedding, time in zip(self.times, times, strict=True):
            told = told + embedding(time) / len(times)
        told = F.silu(told)
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, told)
        left: torch.Tensor = self.leave(_steered(hidden, *self.steer(told).chunk(2, -1)))
        return left

    if TYPE_CHECKING:

        def __call__(self, *given: torch.Tensor) -> torch.Tensor:
            """Typed, as `forward`."""


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.steer = nn.Linear(width, 3 * width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        scale, shift, gate = self.steer(told).chunk(3, -1)
        inner = F.silu(self.inner(_steered(hidden, scale, shift)))
        added: torch.Tensor = hidden + gate * self.outer(inner)
        return added


class _TimeEmbedding(nn.Module):
    frequencies: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), FREQUENCIES)
        self.register_buffer("frequencies", 2.0 * math.pi * periods, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        angles = time * self.frequencies
        embedded: torch.Tensor = self.layers(torch.cat([angles.cos(), angles.sin()], -1))
        return embedded


def _steered(hidden: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return (1.0 + scale) * F.layer_norm(hidden, hidden.shape[-1:]) + shift


@cache
def load_forward_derivatives() -> None:
    """Let torch load its forward derivatives, which it does by what it warns against itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # what earlier versions gave
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))
