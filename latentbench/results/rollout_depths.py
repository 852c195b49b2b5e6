"""The rollout gap at a few depths: how fast it grows, in a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics.gap import gap_by_depth
from latentbench.results.schema import DepthGap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["DEPTHS", "depth_gaps", "mean_depth_gaps"]

# The first step, about a word and about a sentence of a 12.5 Hz encoder.
DEPTHS = (1, 8, 64)


def depth_gaps(columns: Mapping[str, NDArray[np.floating]]) -> tuple[DepthGap, ...]:
    """The gap at each of `DEPTHS` from the columns of a rollout; n = 0 where none is so deep."""
    found = gap_by_depth(columns)
    return tuple(
        DepthGap(
            depth=j,
            n=found[j].n,
            median_gap=found[j].median,
            mean_gap=found[j].mean,
            non_finite=found[j].non_finite,
        )
        if j in found
        else DepthGap(depth=j, n=0, median_gap=np.nan, mean_gap=np.nan, non_finite=0)
        for j in DEPTHS
    )


def mean_depth_gaps(per_seed: Sequence[Sequence[DepthGap]]) -> tuple[DepthGap, ...]:
    """The mean of the gaps over seeds; n and non-finite frames are of all seeds together."""
    return tuple(
        same[0].model_copy(
            update={
                "n": sum(one.n for one in same),
                "median_gap": float(np.mean([one.median_gap for one in same])),
                "mean_gap": float(np.mean([one.mean_gap for one in same])),
                "non_finite": sum(one.non_finite for one in same),
            }
        )
        for same in zip(*per_seed, strict=True)
    )
