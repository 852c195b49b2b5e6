"""Whether a density is one: it integrates to 1, has its mean, and its samples follow it.

In one dimension by quadrature along the line. In several by importance sampling: the proposal is
a cloud of multivariate Student-t kernels around draws of the predictor, wide enough to find mass
that the draws miss, and known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import Skip, require

if TYPE_CHECKING:
    from torch.distributions import Distribution

    from latentbench.predictors import Predictor

__all__ = ["ERRORS", "Weighed", "along_line", "by_importance", "follows", "integrates"]

TOLERANCE = 0.01
ERRORS = 5  # standard errors that a sound density exceeds once in 10^6
TELLING = 0.05  # a larger standard error, relative to the integral, tells nothing
# An estimate whose expectation is 1 exceeds this once in 10^3, whatever the density (Markov).
ABSURD = 1e3
# Kolmogorov's distance of n draws of the true density exceeds this over sqrt(n) once in 10^7.
KOLMOGOROV = 2.9

# x = centre + spread sinh(u): fine around the mass, and 10^5 spreads to either side.
REACH = 12.0
NODES = 80_001
DRAWS = 4096

KERNELS = 1024
POINTS = 16_384
FREEDOM = 3.0
WIDTH = 0.5  # of a kernel, in spreads of the draws


@dataclass(frozen=True)
class Weighed:
    """A density in one context, looked at by weighed points; all float64.

    Attributes:
        points: [n, D], in spreads of the draws from the density's own mean.
        weights: [n], the probability that the density puts on each; they sum to its integral.
        error: the standard error of that sum.
        order: [n], a quantity by which points are ordered: x, or the log-density.
        drawn: [m], the same of the density's own draws.
        repeats: whether draws repeat after `torch.manual_seed`.
    """

    points: torch.Tensor
    weights: torch.Tensor
    error: float
    order: torch.Tensor
    drawn: torch.Tensor
    repeats: bool

    @property
    def says_little(self) -> bool:
        """Whether a few points carry all the weight."""
        return not self.error <= TELLING * float(self.weights.sum())


@torch.no_grad()
def along_line(predictor: Predictor, context: torch.Tensor) -> Weighed:
    """Weigh points of the line: a predictor of one dimension, in one context [1, W, 1]."""
    found = predictor(context)
    draws, repeats = _draws(found, DRAWS)
    centre, spread = _middle(draws)
    u = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    points = centre + spread * torch.sinh(u)[:, None]
    density = torch.cat([_log_prob(found, part) for part in torch.split(points, 10_000)]).exp()
    weights = density * spread * torch.cosh(u) * (u[1] - u[0])
    away = (points - found.mean[0].double()) / spread
    return Weighed(away, weights, 0.0, points[:, 0], draws[:, 0], repeats)


@torch.no_grad()
def by_importance(predictor: Predictor, context: torch.Tensor) -> Weighed:
    """Weigh points drawn around draws of the density in one context, [1, W, D]."""
    found = predictor(context)
    draws, repeats = _draws(found, KERNELS)
    centre, spread = _middle(draws)
    kernels = (draws - centre) / spread
    dim = kernels.shape[1]
    tail = torch.distributions.Chi2(torch.tensor(FREEDOM).double()).sample(torch.Size((POINTS, 1)))
    step = torch.randn(POINTS, dim, dtype=torch.float64) * (FREEDOM / tail).sqrt()
    points = kernels[torch.randint(KERNELS, (POINTS,))] + WIDTH * step
    squares = (torch.cdist(points, kernels) / WIDTH).square()
    normaliser = math.lgamma((FREEDOM + dim) / 2) - math.lgamma(FREEDOM / 2)
    normaliser -= dim * (math.log(FREEDOM * math.pi) / 2 + math.log(WIDTH)) + math.log(KERNELS)
    proposed = torch.logsumexp(-(FREEDOM + dim) / 2 * torch.log1p(squares / FREEDOM), 1)
    proposed += normaliser - spread.log().sum()
    points = centre + spread * points
    log_prob = _log_prob(found, points)
    ratios = (log_prob - proposed).exp()
    away = (points - found.mean[0].double()) / spread
    error = float(ratios.std()) / math.sqrt(POINTS)
    return Weighed(away, ratios / POINTS, error, log_prob, _log_prob(found, draws), repeats)


def integrates(weighed: Weighed, *, bound: bool = False) -> str:
    """Compare the integrals of p and of x p with 1 and with `mean`.

    A lower bound of p integrates to 1 at most, and says nothing of the mean.

    Raises:
        NonconformityError: they differ by over 5 standard errors and 1 % (of the spread).
    """
    total, error = float(weighed.weights.sum()), weighed.error
    what = f"an integral of {total:.4g}" + (f" (standard error {error:.1g})" if error else "")
    wanted = f"exp(log_prob) to integrate to 1{' at most' if bound else ''}"
    require(total <= ABSURD, wanted, what)
    if weighed.says_little:
        return Skip(f"{what} tells nothing: the density is too narrow around its draws")
    excess = total - 1 if bound else abs(total - 1)
    require(excess <= TOLERANCE + ERRORS * error, wanted, what)
    if bound:
        return what
    away = weighed.points * weighed.weights[:, None]
    # Quadrature has no sampling error.
    errors = away.std(0) * math.sqrt(len(away)) * (error > 0)
    beyond = away.sum(0).abs() - ERRORS * errors
    worst = int(beyond.argmax())
    came = f"dimension {worst} off by {float(away.sum(0)[worst]):.2g} spreads"
    require(beyond[worst] <= TOLERANCE, "mean to be the integral of x exp(log_prob(x))", came)
    return what


def follows(weighed: Weighed) -> str:
    """Compare how the draws are distributed with what the density says of them.

    Raises:
        NonconformityError: the draws are of another density, or differ from call to call.
    """
    require(weighed.repeats, "the same samples after torch.manual_seed", "others")
    if weighed.says_little:
        return Skip("too few points count to tell")
    weights = weighed.weights / weighed.weights.sum()
    order = weighed.order.argsort()
    below = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    drawn = weighed.drawn.sort().values
    expected = below[torch.searchsorted(weighed.order[order], drawn)]
    steps = torch.arange(len(drawn), dtype=torch.float64) / len(drawn)
    distance = float(torch.maximum(expected - steps, steps + 1 / len(drawn) - expected).max())
    noise = float(weights.square().sum()) * (weighed.error > 0)
    limit = KOLMOGOROV * math.sqrt(1 / len(drawn) + noise)
    wanted = f"{len(drawn)} samples of the density, Kolmogorov distance up to {limit:.3f}"
    require(distance <= limit, wanted, f"a distance of {distance:.3f}")
    return f"Kolmogorov distance {distance:.3f}"


def _draws(found: Distribution, number: int) -> tuple[torch.Tensor, bool]:
    """Draws [number, D] in float64, and whether the same come again after the same seed."""
    first, again = (_seeded(found, number) for _ in range(2))
    return first[:, 0].double(), torch.equal(first, again)


def _seeded(found: Distribution, number: int) -> torch.Tensor:
    torch.manual_seed(2)
    draws: torch.Tensor = found.sample(torch.Size((number,)))
    return draws


def _middle(draws: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The median and the distance of the quartiles of draws [n, D], each [D]."""
    low, centre, high = torch.quantile(draws, draws.new_tensor([0.25, 0.5, 0.75]), dim=0)
    return centre, (high - low).clamp_min(1e-6)


def _log_prob(found: Distribution, points: torch.Tensor) -> torch.Tensor:
    """Of points [n, D] in the one context of `found`, float64 [n]."""
    log_prob: torch.Tensor = found.log_prob(points.float()[:, None])
    return log_prob[:, 0].double()
