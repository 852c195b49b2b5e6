"""What a rollout is like at one depth, and until when it neither stands still nor runs away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from latentbench.records import Number, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALIVE", "CurvePoint", "Ending", "Life", "ending", "life"]

Ending: TypeAlias = Literal["stands still", "shakes", "shrinks", "runs away"]

# A state is dead that changes by less than half, or more than twice, what true frames change by,
# and so is one whose variance does.
ALIVE = (0.5, 2.0)


class CurvePoint(Record):
    """A rollout at one depth j = t - t0 - k + 1; at j <= 0 the context is still true.

    Attributes:
        depth: j.
        n: frames, one per utterance and seed that reach so far; all else is NaN where it is 0.
        non_finite: frames whose gap is not finite.
        nll_teacher: median NLL of the true target under true contexts, nats per frame; NaN, as
            is the gap, where the predictor has no log-density.
        gap_median: of the NLL under the model's own frames minus that, nats per frame.
        gap_mean: inf where a frame is.
        state_error: median of ||x̂_t - x_t|| over √tr Σ; 1.41 is that of an unrelated frame.
        cosine: mean cosine of Δ̂_t and Δ_t over finite frames.
        magnitude_ratio: median of ||Δ̂_t|| / ||Δ_t||.
        variance_ratio: mean of ||x̂_t - mean||² over that of ||x_t - mean||².
        autocorrelation: of x̂_t and x̂_{t-1}, about the mean.
        true_autocorrelation: of x_t and x_{t-1}.
        energy_distance: of the frames made and true frames of other utterances at the same depth,
            0 of one distribution, at most 1.
        perfect_variance_ratio: the same of a perfect linear model rolled out by samples, no
            frame given back, whatever is done here; None where there is no closed form: the
            target is no change over one frame.
    """

    depth: int
    n: int = 0
    non_finite: int = 0
    nll_teacher: Number = math.nan
    gap_median: Number = math.nan
    gap_mean: Number = math.nan
    state_error: Number = math.nan
    cosine: Number = math.nan
    magnitude_ratio: Number = math.nan
    variance_ratio: Number = math.nan
    autocorrelation: Number = math.nan
    true_autocorrelation: Number = math.nan
    energy_distance: Number = math.nan
    perfect_variance_ratio: Number | None = None


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


def ending(one: CurvePoint) -> Ending:
    """How a rollout ends at a point that is not alive."""
    low, high = ALIVE
    if one.non_finite or not math.isfinite(one.variance_ratio) or one.variance_ratio > high:
        return "runs away"
    if one.magnitude_ratio < low:
        return "stands still"
    return "shakes" if one.magnitude_ratio > high else "shrinks"


def _alive(one: CurvePoint) -> bool:
    """Whether movement and variance are within a half and twice the true ones."""
    low, high = ALIVE
    figures = (one.magnitude_ratio, one.variance_ratio)
    return not one.non_finite and all(low <= figure <= high for figure in figures)
