r"""The variance that a *perfect* linear rollout of these latents would have (docs/rollout.md).

A stale change added to a state it does not know adds variance, whoever draws it. To tell that
artefact from the model's own error, each dimension of the latents is taken for an AR(1) process
of its own, \(\rho_d\) its correlation over one frame on train, and the exact predictor of that
process is rolled out by samples, in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.worlds.process import LinearProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latentbench.latents import Latents

__all__ = ["FirstOrder", "LinearInflation", "first_order", "linear_inflation"]

ROWS = 16_384
# A correlation of exactly 1 is no stationary process.
LARGEST = 1 - 1e-9
# What draws the rolled-out state back by a step; with less it wanders for ever.
LEAST_PULL = 1e-10
# Of the companion matrices: larger ones cost more than many small ones.
GROUP_SIZE = 64


@dataclass(frozen=True)
class FirstOrder:
    """First-order moments of each dimension by itself.

    Attributes:
        frames: pairs (x_{t-1}, x_t) it is computed from.
        mean: [D].
        variance: [D].
        correlation: of x_{t-1} and x_t, [D]; 0 where a dimension is constant.
    """

    frames: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    correlation: NDArray[np.float64]

    @property
    def total_variance(self) -> float:
        """Tr Σ."""
        return float(self.variance.sum())


@dataclass(frozen=True)
class LinearInflation:
    """Variance of the rolled-out state over the true one, summed over dimensions.

    Attributes:
        by_depth: at the depths asked for.
        stationary: in the limit; inf where a dimension of any variance has none.
        unbounded: share of the variance in dimensions whose rollout grows for ever.
    """

    by_depth: dict[int, float]
    stationary: float
    unbounded: float


def first_order(latents: Latents, utterances: Sequence[int], max_frames: int) -> FirstOrder:
    """The moments of the first `max_frames` frames of `utterances` that have one before them."""
    rows = [
        np.arange(one.start + 1, one.start + one.frames, dtype=np.int64)
        for one in (latents.utterances[index] for index in utterances)
    ]
    chosen = np.concatenate([*rows, np.zeros(0, np.int64)])[:max_frames]
    if not chosen.size:
        nothing = np.zeros(latents.dim)
        return FirstOrder(0, nothing, nothing, nothing)
    # Sums of x, y, x², y², xy about the first frame, so that a large offset costs no digits.
    origin = latents.gather(chosen[:1]).numpy().astype(np.float64)
    sums = np.zeros((5, latents.dim))
    for start in range(0, len(chosen), ROWS):
        part = chosen[start : start + ROWS]
        x, y = (latents.gather(one).numpy() - origin for one in (part - 1, part))
        sums += [one.sum(0) for one in (x, y, x * x, y * y, x * y)]
    mean_x, mean_y, square_x, square_y, product = sums / len(chosen)
    spread = np.sqrt(np.maximum((square_x - mean_x**2) * (square_y - mean_y**2), 0))
    covariance = product - mean_x * mean_y
    correlation = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    variance = np.maximum(square_y - mean_y**2, 0)
    return FirstOrder(len(chosen), (origin + mean_y).ravel(), variance, correlation)


def linear_inflation(moments: FirstOrder, horizon: int, depths: Sequence[int]) -> LinearInflation:
    """The closed form for the target x_t - x_{t-1}, drawn by samples at staleness k.

    Args:
        moments: of the latents; dimensions of variance 0 are left out.
        horizon: k.
        depths: j = t - t0 - k + 1, each above -k.
    """
    steps = max(depths, default=-horizon) + horizon
    alive = moments.variance > 0
    variance = moments.variance[alive]
    if not variance.size:
        return LinearInflation(dict.fromkeys(depths, float("nan")), float("nan"), 0.0)
    rho = moments.correlation[alive].clip(-LARGEST, LARGEST)
    curve, limit, unbounded = np.zeros(steps), 0.0, 0.0
    width = max(1, GROUP_SIZE // max(horizon, 2))
    for start in range(0, len(rho), width):
        part = slice(start, start + width)
        with np.errstate(over="ignore", invalid="ignore"):
            found = _ar1(rho[part], variance[part]).inflation_by_depth(horizon, 1, steps)
        curve += variance[part].sum() * np.nan_to_num(found, nan=np.inf, posinf=np.inf)
    for one, spread in zip(rho, variance, strict=True):
        stationary = _stationary(one, horizon)
        limit += spread * stationary
        unbounded += 0.0 if np.isfinite(stationary) else spread
    total = variance.sum()
    by_depth = {j: float(curve[j + horizon - 1] / total) for j in depths}
    return LinearInflation(by_depth, float(limit / total), float(unbounded / total))


def _stationary(rho: float, horizon: int) -> float:
    """Of one dimension; the exact step is x̂_t = x̂_{t-1} - pull x̂_{t-k} + noise."""
    pull = rho ** (horizon - 1) * (1 - rho)
    if pull < LEAST_PULL:
        return float("inf")
    return _ar1(np.array([rho]), np.ones(1)).inflation(horizon, 1)


def _ar1(rho: NDArray[np.float64], variance: NDArray[np.float64]) -> LinearProcess:
    """Independent AR(1) processes of these correlations and variances."""
    return LinearProcess(
        transition=np.diag(rho),
        noise=np.diag((1 - rho**2) * variance),
        observation=np.eye(len(rho)),
        observation_noise=np.zeros((len(rho), len(rho))),
        markov=True,
    )
