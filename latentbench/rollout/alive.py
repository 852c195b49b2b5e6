"""Until when a rollout stays alive: how long it neither stands still nor runs away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentbench.rollout.curves import CurvePoint

__all__ = ["ALIVE", "Life", "life"]

# A state is dead that changes by less than half, or more than twice, what true frames change by,
# and so is one whose variance does.
ALIVE = (0.5, 2.0)


class Life(NamedTuple):
    """How long a rollout lives.

    Attributes:
        until: the deepest depth up to which every one that is known is alive; 0: none is.
        death: the first point that is not; None where all are alive.
        known: whether any frame of the model's own was looked at.
    """

    until: int
    death: CurvePoint | None
    known: bool


def life(points: Iterable[CurvePoint]) -> Life:
    """Of points in order of depth; those whose context is all true (depth <= 0) do not count."""
    until, known = 0, False
    for one in points:
        if one.depth > 0 and one.n:
            known = True
            if not _alive(one):
                return Life(until, one, known)
            until = one.depth
    return Life(until, None, known)


def _alive(one: CurvePoint) -> bool:
    """Whether movement and variance are within a half and twice the true ones."""
    low, high = ALIVE
    figures = (one.magnitude_ratio, one.variance_ratio)
    return not one.non_finite and all(low <= figure <= high for figure in figures)
