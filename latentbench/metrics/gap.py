"""The rollout gap, summarised from the per-frame columns of a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["GapSummary", "gap_by_depth", "rollout_gap", "summarize_gap"]


@dataclass(frozen=True)
class GapSummary:
    """The gap over frames, in nats per frame.

    Attributes:
        n: frames, those that are not finite included.
        non_finite: frames whose rollout or teacher-forced NLL is not finite.
        mean: over all n; inf where any is not finite, nan where n is 0.
        median: over all n, frames that are not finite counting as infinitely bad; nan where n
            is 0.
    """

    n: int
    non_finite: int
    mean: float
    median: float


def rollout_gap(columns: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """`nll_rollout - nll_teacher` per frame, [N]; inf where either is not finite."""
    free = np.asarray(columns["nll_rollout"], dtype=np.float64)
    taught = np.asarray(columns["nll_teacher"], dtype=np.float64)
    gap = np.full(free.shape, np.inf)
    np.subtract(free, taught, out=gap, where=np.isfinite(free) & np.isfinite(taught))
    return gap


def summarize_gap(columns: Mapping[str, NDArray[np.floating]]) -> GapSummary:
    """The gap over all frames t >= t0, as the original reports it.

    The first k frames of each utterance, whose context is still true, are among them with a
    gap of exactly 0; `gap_by_depth` shows the others alone.
    """
    return _summary(rollout_gap(columns))


def gap_by_depth(columns: Mapping[str, NDArray[np.floating]]) -> dict[int, GapSummary]:
    """The gap at each depth j = t - t0 - k + 1, in order: how it grows.

    j <= 0 is a context of true frames only; at j = 1 its newest frame is the model's own.
    """
    depth = np.asarray(columns["depth"])
    order = np.argsort(depth, kind="stable")
    depths, starts = np.unique(depth[order], return_index=True)
    pieces = np.split(rollout_gap(columns)[order], starts[1:])
    return {int(j): _summary(piece) for j, piece in zip(depths, pieces, strict=False)}


def _summary(gap: NDArray[np.float64]) -> GapSummary:
    if not gap.size:
        return GapSummary(0, 0, float("nan"), float("nan"))
    return GapSummary(
        n=gap.size,
        non_finite=int(np.count_nonzero(~np.isfinite(gap))),
        mean=float(gap.mean()),
        median=float(np.median(gap)),
    )
