"""Convert nats per frame to the other units of the field."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["NATS", "PER_DIM", "Scale", "is_rate", "scale"]

NATS = "nats/frame"
PER_DIM = "nats/dim"

# What saves bits of x_t itself, by the target of the run. A change is told from x_t by the frame
# before, so a gain on changes counts what anyone who holds that frame knows.
RATES = {"delta": ("x_gain",), "x": ("gain", "x_gain", "dnll", "dnll_context", "dnll_capacity")}


@dataclass(frozen=True)
class Scale:
    """One figure in every unit, with the sign of the figure (negative ΔNLL: what is saved).

    Attributes:
        nats_per_frame: as measured.
        nats_per_dim: per frame and dimension.
        bits_per_dim: per frame and dimension.
        bits_per_frame: per frame.
        kbps: 1,000 bits per second; None where the figure is no rate.
    """

    nats_per_frame: float
    nats_per_dim: float
    bits_per_dim: float
    bits_per_frame: float
    kbps: float | None


def is_rate(name: str, *, target: str, horizon: int) -> bool:
    """Whether a figure over whole utterances is a rate: a gain on x_t at a staleness of one frame.

    Figures of stale contexts do not add up along a chain of frames, and those of changes are no
    code of the frames (docs/compare.md).

    Args:
        name: of the metric.
        target: of the run, `delta` or `x`.
        horizon: k.
    """
    return horizon == 1 and name in RATES[target]


def scale(nats_per_frame: float, *, dim: int, frame_rate: float, rate: bool) -> Scale:
    """Put a figure to scale.

    Args:
        nats_per_frame: an NLL or a difference of two.
        dim: D of the latents.
        frame_rate: frames per second.
        rate: whether it is one, by `is_rate`.
    """
    bits = nats_per_frame / math.log(2.0)
    return Scale(
        nats_per_frame=nats_per_frame,
        nats_per_dim=nats_per_frame / dim,
        bits_per_dim=bits / dim,
        bits_per_frame=bits,
        kbps=bits * frame_rate / 1000.0 if rate else None,
    )
