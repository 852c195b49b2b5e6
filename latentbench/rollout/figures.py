"""Summarise a rollout: the gap in nats, and how far its frames are off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics.columns import NORM_FLOOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[np.floating]]

__all__ = [
    "STATE_COLUMNS",
    "GapSummary",
    "StateSummary",
    "by_depth",
    "powers_of_two",
    "rollout_gap",
    "summarize_gap",
    "summarize_states",
]


# What a rollout tells of every frame it makes (`latentbench.rollout.engine.rollout`).
STATE_COLUMNS = (
    "state_error",
    "change_cosine",
    "change_norm",
    "true_change_norm",
    "deviation",
    "true_deviation",
    "lagged_product",
    "true_lagged_product",
    "previous_deviation",
    "true_previous_deviation",
    "distance_to_true",
    "distance_to_own",
    "distance_of_true",
)


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


@dataclass(frozen=True)
class StateSummary:
    """How far the frames that a model made are off.

    Attributes:
        state_error: median of ||x̂_t - x_t|| over √tr Σ; 1.41 is that of an unrelated frame.
        cosine: mean cosine of the change made and the true one, over finite frames; nan if none.
        magnitude_ratio: median of ||Δ̂|| / ||Δ||, the true norm floored at 1e-8.
        variance_ratio: mean of ||x̂_t - mean||² over that of ||x_t - mean||²; inf where a frame
            is not finite.
        autocorrelation: of the frames made and those one frame before, about the mean of the
            latents; nan where the frames do not vary.
        true_autocorrelation: the same of the true frames.
        energy_distance: of the frames made and the true ones at the same time of other utterances,
            (2E||X - Y|| - E||X - X'|| - E||Y - Y'||) / 2E||X - Y||: 0 of one distribution, 1 of two
            that are points; nan of a single utterance.
    """

    state_error: float
    cosine: float
    magnitude_ratio: float
    variance_ratio: float
    autocorrelation: float
    true_autocorrelation: float
    energy_distance: float


def rollout_gap(columns: Columns) -> NDArray[np.float64]:
    """`nll_rollout - nll_teacher` per frame, [N]; inf where either is not finite."""
    free = np.asarray(columns["nll_rollout"], dtype=np.float64)
    taught = np.asarray(columns["nll_teacher"], dtype=np.float64)
    gap = np.full(free.shape, np.inf)
    np.subtract(free, taught, out=gap, where=np.isfinite(free) & np.isfinite(taught))
    return gap


def by_depth(columns: Columns) -> dict[int, dict[str, NDArray[np.floating]]]:
    """Part the columns by depth j = t - t0 - k + 1, in order of j.

    j <= 0 is a context of true frames only; at j = 1 its newest frame is the model's own.
    """
    depth = np.asarray(columns["depth"])
    order = np.argsort(depth, kind="stable")
    depths, starts = np.unique(depth[order], return_index=True)
    pieces = np.split(order, starts[1:])[: len(depths)]  # of nothing there is still one piece
    return {
        int(j): {name: values[piece] for name, values in columns.items()}
        for j, piece in zip(depths, pieces, strict=True)
    }


def powers_of_two(deepest: int) -> list[int]:
    """Depths 1, 2, 4, ... up to the deepest."""
    return [1 << power for power in range(max(deepest, 0).bit_length())]


def summarize_gap(columns: Columns) -> GapSummary:
    """Summarise the gap of all frames given.

    The original reports that of all frames t >= t0. The first k frames of each utterance, whose
    context is still true, are among them with a gap of exactly 0; `by_depth` parts them.
    """
    gap = rollout_gap(columns)
    if not gap.size:
        return GapSummary(0, 0, float("nan"), float("nan"))
    return GapSummary(
        n=gap.size,
        non_finite=int(np.count_nonzero(~np.isfinite(gap))),
        mean=float(gap.mean()),
        median=float(np.median(gap)),
    )


def summarize_states(columns: Columns, total_variance: float) -> StateSummary:
    """Summarise the states of the frames given.

    Args:
        columns: of a rollout with the columns of its states, of at least one frame.
        total_variance: tr Σ of the latents.
    """
    cosine = columns["change_cosine"]
    true_norm = np.maximum(columns["true_change_norm"], NORM_FLOOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = float(np.median(columns["state_error"]) / np.sqrt(total_variance))
        variance = float(columns["deviation"].mean() / columns["true_deviation"].mean())
    sound = cosine[np.isfinite(cosine)]
    return StateSummary(
        state_error=relative,
        cosine=float(sound.mean()) if sound.size else float("nan"),
        magnitude_ratio=float(np.median(columns["change_norm"] / true_norm)),
        variance_ratio=variance,
        autocorrelation=_autocorrelation(columns, ""),
        true_autocorrelation=_autocorrelation(columns, "true_"),
        energy_distance=_energy_distance(columns),
    )


def _autocorrelation(columns: Columns, of: str) -> float:
    """Of the frames made, or of the true ones."""
    product, before, here = (
        float(columns[f"{of}{name}"].mean())
        for name in ("lagged_product", "previous_deviation", "deviation")
    )
    size = math.sqrt(before) * math.sqrt(here)
    return product / size if size > 0 else math.nan


def _energy_distance(columns: Columns) -> float:
    """A mean over frames, each compared with the other utterances at its time."""
    names = "distance_to_true", "distance_to_own", "distance_of_true"
    with np.errstate(invalid="ignore"):
        across, own, true = (float(columns[name].mean()) for name in names)
    if not math.isfinite(across):
        return 1.0 if across > 0 else math.nan
    return (2.0 * across - own - true) / (2.0 * across) if across > 0 else math.nan
