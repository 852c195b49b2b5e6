"""What reads the context: a flattened window, a recurrent network or a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.recycling_linear import RecyclingLinear

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FlattenedWindow", "Memory", "RecurrentWindow", "Transformer"]

ROTARY_BASE = 10_000.0
EXPANSION = 4
LEAST_BLOCK = 64


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


class Memory(NamedTuple):
    """What a transformer keeps of the frames seen so far, to go on from there.

    Attributes:
        position: how many frames it has seen.
        layers: rotated keys and values of each layer's last frames, [B, heads, <= span, d] each.
    """

    position: int
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]


class Transformer(nn.Module):
    """Pre-norm blocks of rotary, banded, causal attention (Vaswani 2017; Su 2021).

    Layer l attends from each frame to itself and the s_l frames before it, and the s_l of all
    layers add up to reach - 1: the state of a frame depends on exactly the `reach` newest frames,
    and on no absolute position. So all frames of an utterance computed at once equal what each
    window of `reach` frames would give.

    Args:
        dim: D of the frames.
        width: of the states, a multiple of twice `heads`.
        layers: how many.
        heads: of the attention.
        reach: frames a state depends on.
    """

    def __init__(self, dim: int, *, width: int, layers: int, heads: int, reach: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, width)
        spans = [(reach - 1 + layer) // layers for layer in range(layers)]
        self.per_head = width // heads
        self.blocks = nn.ModuleList(_Block(width, heads, span) for span in spans)
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """The state after each frame, [B, T, width], of frames [B, T, D]."""
        return self.go_on(frames, None)[0]

    def go_on(self, frames: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """The state after each of T more frames, [B, T, width], and what to keep of all so far.

        Args:
            frames: [B, T, D].
            memory: of the frames before; None at the start.
        """
        if memory is None:
            return self._seen(frames, None)
        states = []
        for frame in torch.split(frames, 1, -2):
            state, memory = self._seen(frame, memory)
            states.append(state)
        return torch.cat(states, -2), memory

    def _seen(self, frames: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """The same of the first frames, or of one more."""
        position = memory.position if memory else 0
        before: Sequence[tuple[torch.Tensor, torch.Tensor] | None]
        before = memory.layers if memory else [None] * len(self.blocks)
        rotation = _rotation(position, frames.shape[-2], self.per_head, frames.device)
        hidden, kept = self.enter(frames), []
        for block, cache in zip(self.blocks, before, strict=True):
            hidden, now = block(hidden, rotation, cache)
            kept.append(now)
        return self.norm(hidden), Memory(position + frames.shape[-2], tuple(kept))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, span: int) -> None:
        super().__init__()
        self.heads = heads
        self.per_head = width // heads
        self.span = span
        self.norm_attention, self.norm_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width)
        )

    def forward(
        self,
        hidden: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor],
        cache: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        projected = self.project(self.norm_attention(hidden))
        split = projected.unflatten(-1, (3, self.heads, self.per_head)).movedim(-3, 0)
        query, key, value = split.transpose(-2, -3)
        query, key = _rotated(query, *rotation), _rotated(key, *rotation)
        if cache is None:
            seen = banded_attention(query, key, value, self.span)
        else:
            key, value = torch.cat([cache[0], key], -2), torch.cat([cache[1], value], -2)
            seen = F.scaled_dot_product_attention(query, key, value)
        hidden = hidden + self.merge(seen.transpose(-2, -3).flatten(-2))
        hidden = hidden + self.layers(self.norm_layers(hidden))
        # Not key[-span:], which keeps all of them where the span is 0.
        oldest = max(0, key.shape[-2] - self.span)
        return hidden, (key[..., oldest:, :], value[..., oldest:, :])


def banded_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, span: int
) -> torch.Tensor:
    """Attention of each of T frames to itself and the `span` frames before, [B, heads, T, d].

    Long utterances are cut into blocks of queries, each of which sees its own and the block of
    keys before: time and memory grow with T times the span, not with the square of T.
    """
    frames = query.shape[-2]
    size = max(span, LEAST_BLOCK)
    if frames <= size:
        places = torch.arange(frames, device=query.device)
        band = _band(places, places, span)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=band)
    blocks = -(-frames // size)
    query, key, value = (
        F.pad(one, (0, 0, before, blocks * size - frames))
        for one, before in ((query, 0), (key, size), (value, size))
    )
    batch = query.shape[0]
    query = query.reshape(*query.shape[:2], blocks, size, -1).transpose(1, 2).flatten(0, 1)
    key, value = (
        one.unfold(-2, 2 * size, size).transpose(1, 2).transpose(-1, -2).flatten(0, 1)
        for one in (key, value)
    )
    places = torch.arange(2 * size, device=query.device)
    band = _band(places[size:], places, span).repeat(blocks, 1, 1)
    band[0] &= places >= size  # there is nothing before the first block
    band = band.unsqueeze(1).repeat(batch, 1, 1, 1)
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=band)
    seen = seen.reshape(batch, blocks, *seen.shape[1:]).transpose(1, 2).flatten(2, 3)
    return seen[..., :frames, :]


def _band(queries: torch.Tensor, keys: torch.Tensor, span: int) -> torch.Tensor:
    """Which keys are 0..span places before which queries, bool [queries, keys]."""
    age = queries.unsqueeze(-1) - keys
    return (age >= 0) & (age <= span)


def _rotation(
    position: int, frames: int, per_head: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the frames from `position` on, [T, d / 2] each.

    Angles are float64: far into an utterance float32 would lose the digits that count.
    """
    exponents = torch.arange(0, per_head, 2, dtype=torch.float64) / per_head
    places = torch.arange(position, position + frames, dtype=torch.float64)
    angles = places.unsqueeze(-1) * ROTARY_BASE**-exponents
    return angles.cos().float().to(device), angles.sin().float().to(device)


def _rotated(values: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """[B, heads, T, d], its two halves rotated against one another."""
    one, other = values.chunk(2, -1)
    turned = torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)
    return turned.to(values.dtype)
