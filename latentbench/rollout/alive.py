"""Until when a rollout stays alive: how long it neither stands still nor runs away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALIVE", "AtDepth", "Ending", "Life", "ending", "life"]

Ending: TypeAlias = Literal["stands still", "shakes", "shrinks", "runs away"]

# A state is dead that changes by less than half, or more than twice, what true frames change by,
# and so is one whose variance does.
ALIVE = (0.5, 2.0)


class AtDepth(Protocol):
    """What is looked at of a rollout at one depth, as of `rollout.curves.CurvePoint`."""

    @property
    def depth(self) -> int:
        """Depth j."""

    @property
    def n(self) -> int:
        """Frames."""

    @property
    def non_finite(self) -> int:
        """How many of them have no finite gap."""

    @property
    def magnitude_ratio(self) -> float:
        """Movement over the true one."""

    @property
    def variance_ratio(self) -> float:
        """Variance over the true one."""


class Life(NamedTuple):
    """How long a rollout lives.

    Attributes:
        until: the deepest depth up to which every one that is known is alive; 0: none is.
        death: the first point that is not; None where all are alive.
        known: whether any frame of the model's own was looked at.
    """

    until: int
    death: AtDepth | None
    known: bool


def life(points: Iterable[AtDepth]) -> Life:
    """Of points in order of depth; those whose context is all true (depth <= 0) do not count."""
    until, known = 0, False
    for one in points:
        if one.depth > 0 and one.n:
            known = True
            if not _alive(one):
                return Life(until, one, known)
            until = one.depth
    return Life(until, None, known)


def ending(one: AtDepth) -> Ending:
    """How a rollout ends at a point that is not alive."""
    low, high = ALIVE
    if one.non_finite or not math.isfinite(one.variance_ratio) or one.variance_ratio > high:
        return "runs away"
    if one.magnitude_ratio < low:
        return "stands still"
    return "shakes" if one.magnitude_ratio > high else "shrinks"


def _alive(one: AtDepth) -> bool:
    """Whether movement and variance are within a half and twice the true ones."""
    low, high = ALIVE
    figures = (one.magnitude_ratio, one.variance_ratio)
    return not one.non_finite and all(low <= figure <= high for figure in figures)
