"""Whether a density of several dimensions is one: by importance sampling.

The proposal is a cloud of multivariate Student-t kernels around draws of the predictor: wide
enough to find mass that the draws miss, and known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import Skip, require

if TYPE_CHECKING:
    from latentbench.predictors import Predictor

__all__ = ["Weighed", "integrates_in_many", "sampled_in_many", "weighed"]

KERNELS = 1024
POINTS = 16_384
FREEDOM = 3.0
WIDTH = 0.5  # of a kernel, in spreads of the draws

ERRORS = 5  # standard errors that a sound density exceeds once in 10^6
TOLERANCE = 0.01
TELLING = 0.05  # a larger standard error, relative to the mean of the weights, tells nothing
# A mean of weights whose expectation is 1 exceeds this once in 10^3, whatever they are (Markov).
ABSURD = 1e3
# Kolmogorov's distance of n draws exceeds this over sqrt(n) once in 10^7.
KOLMOGOROV = 2.9


@dataclass(frozen=True)
class Weighed:
    """Points of a known density and what a predictor says of them, all float64.

    Attributes:
        points: [n, D].
        weights: [n], the predictor's density over that of the points; 1 on average.
        log_prob: [n], the predictor's.
        drawn: [m], its log_prob of its own draws.
        mean: [D], its mean.
        spread: [D], of its draws.
    """

    points: torch.Tensor
    weights: torch.Tensor
    log_prob: torch.Tensor
    drawn: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor

    @property
    def error(self) -> float:
        """The standard error of the mean of the weights."""
        return float(self.weights.std()) / math.sqrt(len(self.weights))

    @property
    def says_little(self) -> bool:
        """Whether a few points carry all the weight."""
        return not self.error <= TELLING * float(self.weights.mean())


@torch.no_grad()
def weighed(predictor: Predictor, context: torch.Tensor) -> Weighed:
    """Draw points around draws of the density in one context, [1, W, D], and weigh them."""
    found = predictor(context)
    torch.manual_seed(2)
    draws = found.sample(torch.Size((KERNELS,)))
    kernels = draws[:, 0].double()
    low, centre, high = torch.quantile(kernels, kernels.new_tensor([0.25, 0.5, 0.75]), dim=0)
    spread = (high - low).clamp_min(1e-6)
    kernels = (kernels - centre) / spread
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
    log_prob = found.log_prob(points.float()[:, None])[:, 0].double()
    return Weighed(
        points,
        (log_prob - proposed).exp(),
        log_prob,
        found.log_prob(draws)[:, 0].double(),
        found.mean[0].double(),
        spread,
    )


def integrates_in_many(weighed: Weighed) -> str | Skip:
    """Compare the integrals of p and of x p with 1 and with `mean`.

    Raises:
        NonconformityError: they differ by 5 standard errors and 1 % (of the density's spread).
    """
    total, error = float(weighed.weights.mean()), weighed.error
    what = f"an integral of {total:.4g} (standard error {error:.1g})"
    require(total <= ABSURD, "exp(log_prob) to integrate to 1", what)
    if weighed.says_little:
        return Skip(f"{what} tells nothing: the density is too narrow around its draws")
    require(abs(total - 1) <= TOLERANCE + ERRORS * error, "exp(log_prob) to integrate to 1", what)
    away = (weighed.points - weighed.mean) / weighed.spread * weighed.weights[:, None]
    shift, errors = away.mean(0), away.std(0) / math.sqrt(len(away))
    worst = int((shift.abs() - ERRORS * errors).argmax())
    require(
        shift[worst].abs() <= TOLERANCE + ERRORS * errors[worst],
        "mean to be the integral of x exp(log_prob(x))",
        f"dimension {worst} off by {float(shift[worst]):.2g} spreads",
    )
    return what


def sampled_in_many(weighed: Weighed) -> str | Skip:
    """Compare how log_prob is distributed over draws with how the density itself says it is.

    Raises:
        NonconformityError: the draws are of another density.
    """
    if weighed.says_little:
        return Skip("too few points count to tell")
    weights = weighed.weights / weighed.weights.sum()
    order = weighed.log_prob.argsort()
    expected = torch.cat([weights.new_zeros(1), weights[order].cumsum(0)])
    drawn = weighed.drawn.sort().values
    below = expected[torch.searchsorted(weighed.log_prob[order], drawn)]
    steps = torch.arange(len(drawn), dtype=torch.float64) / len(drawn)
    distance = float(torch.maximum(below - steps, steps + 1 / len(drawn) - below).max())
    limit = KOLMOGOROV * math.sqrt(1 / len(drawn) + float(weights.square().sum()))
    require(
        distance <= limit,
        f"{len(drawn)} samples of the density, Kolmogorov distance of log_prob up to {limit:.3f}",
        f"a distance of {distance:.3f}",
    )
    return f"Kolmogorov distance {distance:.3f}"
