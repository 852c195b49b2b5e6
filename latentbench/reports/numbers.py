"""Numbers as a table shows them: never truncated, compact where they are huge."""

from __future__ import annotations

import math

__all__ = ["compact", "time_text"]


def compact(value: float, decimals: int, width: int = 8) -> str:
    """The number with `decimals`, or in scientific notation where that exceeds `width`.

    `inf`, `-inf` and `nan` are written out.
    """
    if not math.isfinite(value):
        return str(value)
    plain = f"{value:.{decimals}f}"
    return plain if len(plain) <= width else f"{value:.1e}"


def time_text(milliseconds: float) -> str:
    """Milliseconds without needless decimals: `80`, `13.3`."""
    return f"{milliseconds:.1f}".removesuffix(".0")
