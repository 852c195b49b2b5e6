"""A rollout by depth: how its frames leave the true ones, summarised per depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics.columns import NORM_FLOOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["StateSummary", "powers_of_two", "state_by_depth"]


@dataclass(frozen=True)
class StateSummary:
    """The frames made at one depth.

    Attributes:
        n: frames, those that are not finite included.
        non_finite: frames that are not finite.
        error: median of ||x̂_t - x_t|| over √tr Σ; 1.41 is that of an unrelated frame.
        cosine: mean cosine of the change made and the true one, over finite frames; nan if none.
        magnitude_ratio: median of ||Δ̂|| / ||Δ||, the true norm floored at 1e-8.
        variance_ratio: mean of ||x̂_t - mean||² over that of ||x_t - mean||²; inf where a frame
            is not finite.
    """

    n: int
    non_finite: int
    error: float
    cosine: float
    magnitude_ratio: float
    variance_ratio: float


def state_by_depth(
    columns: Mapping[str, NDArray[np.floating]], total_variance: float
) -> dict[int, StateSummary]:
    """The states at each depth, in order.

    Args:
        columns: of a rollout with the columns of its states.
        total_variance: tr Σ of the latents.
    """
    depth = np.asarray(columns["depth"])
    order = np.argsort(depth, kind="stable")
    depths, starts = np.unique(depth[order], return_index=True)
    pieces = np.split(order, starts[1:])[: len(depths)]  # of nothing there is still one piece
    return {
        int(j): _summary({name: values[piece] for name, values in columns.items()}, total_variance)
        for j, piece in zip(depths, pieces, strict=True)
    }


def powers_of_two(deepest: int) -> list[int]:
    """Depths 1, 2, 4, ... up to the deepest."""
    return [1 << power for power in range(max(deepest, 0).bit_length())]


def _summary(columns: Mapping[str, NDArray[np.floating]], total_variance: float) -> StateSummary:
    error, cosine = columns["state_error"], columns["change_cosine"]
    true_norm = np.maximum(columns["true_change_norm"], NORM_FLOOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.median(error) / np.sqrt(total_variance))
        variance = float(columns["deviation"].mean() / columns["true_deviation"].mean())
    sound = cosine[np.isfinite(cosine)]
    return StateSummary(
        n=error.size,
        non_finite=int(np.count_nonzero(~np.isfinite(error))),
        error=relative,
        cosine=float(sound.mean()) if sound.size else float("nan"),
        magnitude_ratio=float(np.median(columns["change_norm"] / true_norm)),
        variance_ratio=variance,
    )
