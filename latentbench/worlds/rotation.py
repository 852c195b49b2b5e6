"""Random rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["rotation"]


def rotation(dim: int, seed: int) -> NDArray[np.float64]:
    """An orthogonal matrix [dim, dim], uniform over all (Stewart 1980)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return np.asarray(q * np.sign(np.diag(r)))
