"""Bytes and durations as people write them."""

from __future__ import annotations

__all__ = ["bytes_text", "duration_text"]

STEP = 1000
MINUTE = 60
HOUR = 3600


def bytes_text(count: float) -> str:
    """Bytes in the largest decimal unit that leaves at least 1: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < STEP:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= STEP
    return f"{count:.1f} TB"


def duration_text(seconds: float) -> str:
    """A duration to two units: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{seconds:.1f} s" if seconds < 1 else f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
