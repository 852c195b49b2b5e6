"""Whether a density is one: by numerical integration, for frames of one dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import require

if TYPE_CHECKING:
    from latentbench.predictors import Predictor

__all__ = ["integrates", "sampled"]

TOLERANCE = 0.01
DRAWS = 4096
# Kolmogorov's distance of 4,096 draws of the true density is larger than this once in 10^7.
MAX_DISTANCE = 0.046

# x = centre + spread sinh(u): fine around the mass, and 10^5 spreads to either side.
REACH = 12.0
POINTS = 80_001


def integrates(predictor: Predictor, context: torch.Tensor) -> str:
    """Compare the integrals of p and of x p with 1 and with `mean`.

    Args:
        predictor: of one dimension.
        context: [1, W, 1].

    Raises:
        NonconformityError: they differ by over 1 % (of the density's spread).
    """
    points, weights, mean, spread = _grid(predictor, context)
    total = float(weights.sum())
    require(
        abs(total - 1) <= TOLERANCE,
        "exp(log_prob) to integrate to 1",
        f"an integral of {total:.4g}",
    )
    first = float((points * weights).sum())
    require(
        abs(first - mean) <= TOLERANCE * spread,
        f"mean = {first:.4g}, the integral of x exp(log_prob(x))",
        f"mean = {mean:.4g}",
    )
    return f"integral {total:.4f}"


def sampled(predictor: Predictor, context: torch.Tensor) -> str:
    """Compare draws with the density by Kolmogorov's distance, and draws of one seed.

    Args:
        predictor: of one dimension.
        context: [1, W, 1].

    Raises:
        NonconformityError: the draws are of another density, or differ from call to call.
    """
    points, weights, _, _ = _grid(predictor, context)
    with torch.no_grad():
        found = predictor(context)
        torch.manual_seed(0)
        draws = found.sample(torch.Size((DRAWS,)))
        torch.manual_seed(0)
        again = found.sample(torch.Size((DRAWS,)))
    require(torch.equal(draws, again), "the same samples after torch.manual_seed", "others")
    ordered = draws.flatten().double().sort().values
    above = torch.searchsorted(points, ordered).clamp(max=len(points) - 1)
    expected = (weights.cumsum(0) / weights.sum())[above]
    steps = torch.arange(DRAWS, dtype=torch.float64) / DRAWS
    distance = float(torch.maximum(expected - steps, steps + 1 / DRAWS - expected).max())
    require(
        distance <= MAX_DISTANCE,
        f"{DRAWS} samples of the density, Kolmogorov distance at most {MAX_DISTANCE}",
        f"a distance of {distance:.3f}",
    )
    return f"Kolmogorov distance {distance:.3f}"


def _grid(
    predictor: Predictor, context: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """Points, the probability around each, the density's own mean, and the spread of draws."""
    with torch.no_grad():
        found = predictor(context)
        torch.manual_seed(1)
        draws = found.sample(torch.Size((DRAWS,))).flatten().double()
        low, centre, high = torch.quantile(draws, draws.new_tensor([0.25, 0.5, 0.75]))
        spread = max(float(high - low), 1e-6)
        u = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
        points = centre + spread * torch.sinh(u)
        log_prob = torch.cat(
            [found.log_prob(part.float()[:, None, None]).flatten() for part in points.split(10_000)]
        ).double()
        mean = float(found.mean)
    weights = log_prob.exp() * spread * torch.cosh(u) * (u[1] - u[0])
    return points, weights, mean, spread
