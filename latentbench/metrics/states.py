"""How far the frames a rollout makes are from the true ones, per frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics.columns import NORM_FLOOR

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["STATE_COLUMNS", "StateColumns"]

STATE_COLUMNS = (
    "state_error",
    "change_cosine",
    "change_norm",
    "true_change_norm",
    "deviation",
    "true_deviation",
)


class StateColumns:
    """Columns of a rollout about its frames, float64 [N] each.

    With x̂_t as the model made it, before a true frame takes its place, and x̂_{t-m} as the state
    has it: `state_error` ||x̂_t - x_t||; `change_cosine` of x̂_t - x̂_{t-m} and x_t - x_{t-m}, norms
    floored at 1e-8; `change_norm` and `true_change_norm`, their norms; `deviation` ||x̂_t - mean||²
    and `true_deviation` ||x_t - mean||². Norms of what is not finite are inf, its cosine nan.

    Args:
        count: N.
        centre: mean of the latents, [D].
    """

    def __init__(self, count: int, centre: torch.Tensor) -> None:
        self.centre = centre.double()
        self.columns: dict[str, NDArray[np.float64]] = {
            name: np.empty(count) for name in STATE_COLUMNS
        }

    def record(
        self,
        number: NDArray[np.int64],
        made: torch.Tensor,
        true: torch.Tensor,
        change: torch.Tensor,
        true_change: torch.Tensor,
    ) -> None:
        """Fill in the frames numbered `number` [B] from frames and changes, each [B, D]."""
        made, true = made.double(), true.double()
        change, true_change = change.double(), true_change.double()
        norm, true_norm = _norm(change), _norm(true_change)
        floored = norm.clamp_min(NORM_FLOOR) * true_norm.clamp_min(NORM_FLOOR)
        cosine = (change * true_change).sum(-1) / floored
        found = {
            "state_error": _norm(made - true),
            "change_cosine": cosine.masked_fill(~cosine.isfinite(), np.nan),
            "change_norm": norm,
            "true_change_norm": true_norm,
            "deviation": _norm(made - self.centre).square(),
            "true_deviation": _norm(true - self.centre).square(),
        }
        for name, values in found.items():
            self.columns[name][number] = values.cpu().numpy()


def _norm(vectors: torch.Tensor) -> torch.Tensor:
    """[B], inf where a vector is not finite."""
    return vectors.square().sum(-1).sqrt().nan_to_num(nan=np.inf, posinf=np.inf)
