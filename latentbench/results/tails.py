"""What a mean over frames owes to a few of them (docs/explain.md).

nan counts as the worst value there is, infinity as the next.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["WORST_SHARE", "median", "tail_share", "trimmed_mean", "worst_count"]

WORST_SHARE = 1e-3


def worst_count(frames: int, share: float = WORST_SHARE) -> int:
    """How many frames the worst `share` of them are: rounded up, so at least one of any."""
    # 0.001 * 3000 must not become 4 by the last bit.
    return math.ceil(round(frames * share, 9))


def median(values: ArrayLike) -> float:
    """The median of [N]; infinite only where half of the frames are; nan for no frames."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not ordered.size:
        return math.nan
    low, high = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
    return float(low if low == high else low + (high - low) / 2)


def trimmed_mean(values: ArrayLike, share: float = WORST_SHARE) -> float:
    """The mean of [N] without its largest `share`; nan where nothing is left."""
    kept, _ = _parts(values, share)
    return float(kept.mean()) if kept.size else math.nan


def tail_share(values: ArrayLike, share: float = WORST_SHARE) -> float:
    """The sum of the largest `share` of [N] over the sum of all.

    Above 1 where the others sum to less than 0. 1 where the largest are infinite and the others
    are not; nan for no frames, a sum of 0, or values among the others that are not finite.
    """
    kept, worst = _parts(values, share)
    with np.errstate(over="ignore", invalid="ignore"):
        rest, carried = float(kept.sum()), float(worst.sum())
    if not math.isfinite(rest):
        return math.nan
    if not math.isfinite(carried):
        return 1.0
    return carried / (rest + carried) if rest + carried else math.nan


def _parts(values: ArrayLike, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All but the worst frames, and the worst."""
    every = np.asarray(values, dtype=np.float64)
    count = worst_count(every.size, share)
    if not count:
        return every, every[:0]
    ordered = np.partition(every, every.size - count)
    return ordered[:-count], ordered[-count:]
