"""A figure in nats per frame, told in the other units of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Scale", "scale"]


@dataclass(frozen=True)
class Scale:
    """One figure in every unit, with the sign of the figure (negative ΔNLL: what is saved).

    Attributes:
        nats_per_frame: as measured.
        nats_per_dim: per frame and dimension.
        bits_per_dim: per frame and dimension.
        bits_per_frame: per frame.
        kbps: 1,000 bits per second; None at k > 1, where it is no rate: figures of stale
            contexts do not add up along a chain of frames (docs/compare.md).
    """

    nats_per_frame: float
    nats_per_dim: float
    bits_per_dim: float
    bits_per_frame: float
    kbps: float | None


def scale(nats_per_frame: float, *, dim: int, frame_rate: float, horizon: int) -> Scale:
    """Put a figure to scale.

    Args:
        nats_per_frame: an NLL or a difference of two.
        dim: D of the latents.
        frame_rate: frames per second.
        horizon: k.
    """
    bits = nats_per_frame / math.log(2.0)
    return Scale(
        nats_per_frame=nats_per_frame,
        nats_per_dim=nats_per_frame / dim,
        bits_per_dim=bits / dim,
        bits_per_frame=bits,
        kbps=bits * frame_rate / 1000.0 if horizon == 1 else None,
    )
