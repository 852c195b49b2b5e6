"""What the checks ask of tensors: shape, dtype, finite values, and how far two are apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from latentbench.conformance.check import require

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ROUNDING",
    "SAME",
    "change",
    "require_finite",
    "require_same",
    "require_tensor",
    "shape_text",
]

SAME = 1e-6  # of the largest magnitude: rounding of one and the same computation
ROUNDING = 1e-5  # of the same: rounding of a computation in another order


def shape_text(tensor: torch.Tensor) -> str:
    """E.g. `[1, 16000]`."""
    return str(list(tensor.shape))


def require_tensor(value: Any, what: str, shape: Sequence[int]) -> None:
    """Hold a value to be a finite tensor of a shape.

    Raises:
        NonconformityError: it is not.
    """
    require(isinstance(value, torch.Tensor), f"{what} to be a tensor", type(value).__name__)
    fits = tuple(value.shape) == tuple(shape)
    require(fits, f"{what} of shape {list(shape)}", f"shape {shape_text(value)}")
    require_finite(value, what)


def require_finite(value: torch.Tensor, what: str) -> None:
    """Hold a tensor to be finite.

    Raises:
        NonconformityError: it is not.
    """
    bad = int((~value.isfinite()).sum())
    require(not bad, f"finite {what}", f"{bad} of {value.numel()} values not finite")


def require_same(expected: torch.Tensor, came: torch.Tensor, tolerance: float, what: str) -> str:
    """Hold two tensors [N, ...] to be the same; the detail says how far apart they are.

    Raises:
        NonconformityError: their shapes differ, or rows by more than the tolerance.
    """
    wanted = f"{what}: shape {shape_text(expected)}"
    require(expected.shape == came.shape, wanted, f"shape {shape_text(came)}")
    differences = change(expected, came)
    worst = float(differences.max()) if len(differences) else 0.0
    changed = torch.nonzero(differences > tolerance).flatten().tolist()
    wanted = f"{what}, to {tolerance:.0e} of the largest magnitude"
    many = f"{len(changed)} of {len(differences)} frames differ, frame {min(changed, default=0)}"
    require(not changed, wanted, f"{many} first, by up to {worst:.1e} of it")
    return f"largest difference {worst:.1e}"


def change(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How far the rows of two tensors [N, ...] are apart, [N], in units of `_scale`.

    Infinite where either is not finite.
    """
    distance = (one.double() - other.double()).abs().reshape(len(one), -1)
    if not distance.numel():
        return distance.new_zeros(len(one))
    return (distance.amax(-1) / _scale(one, other)).nan_to_num(nan=math.inf)


def _scale(*tensors: torch.Tensor) -> float:
    """The largest finite magnitude, against which differences are judged; 1 if all are 0."""
    return max(float(one.nan_to_num(0.0, 0.0, 0.0).abs().max()) for one in tensors) or 1.0
