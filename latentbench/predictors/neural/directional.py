"""A head of direction and magnitude: von Mises-Fisher times log-normal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributions import Beta
from torch.nn import functional as F

from latentbench.predictors.densities import LOG_2PI, FrameDensity
from latentbench.predictors.neural.head import Head, soft_clamp

if TYPE_CHECKING:
    from latentbench.predictors.densities import Shape
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = ["DirectionalDensity", "DirectionalHead", "log_bessel"]

LEAST_NORM = 1e-30

# Concentration up to 100 D: angles down to about 6 degrees. Log-magnitudes around ln sqrt(D), that
# of a standardised target.
LEAST_LOG_KAPPA = math.log(0.01)
MOST_KAPPA_PER_DIM = 100.0
LOG_SPREADS = (math.log(0.01), math.log(3.0))
LOG_NORM_REACH = 10.0

# The expansion is accurate to 1e-7 from this order on; lower ones follow by recurrence.
LEAST_ORDER = 30.0
MOST_TRIES = 1_000


class DirectionalDensity(FrameDensity):
    r"""Direction w = z / r von Mises-Fisher around m, magnitude r = ||z|| log-normal.

    .. math::
        p(z) = \frac{\kappa^{D/2 - 1} e^{\kappa\, m \cdot w}}{(2\pi)^{D/2} I_{D/2-1}(\kappa)} \cdot
        \frac{N(\ln r; a, b^2)}{r^D}

    (Mardia & Jupp 2000, §9.3.) `log_prob` computes and returns float64, `mean` and `sample` give
    float32.

    Args:
        direction: m, of norm 1, [B, D].
        log_kappa: [B].
        log_norm: a, [B].
        log_spread: ln b, [B].
    """

    def __init__(
        self,
        direction: torch.Tensor,
        log_kappa: torch.Tensor,
        log_norm: torch.Tensor,
        log_spread: torch.Tensor,
    ) -> None:
        self.direction = direction.double()
        self.kappa = log_kappa.double().exp()
        self.log_norm = log_norm.double()
        self.spread = log_spread.double().exp()
        super().__init__(direction.shape[:-1], direction.shape[-1:])

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float32."""
        half = self.direction.shape[-1] / 2.0
        resultant = (log_bessel(half, self.kappa) - log_bessel(half - 1.0, self.kappa)).exp()
        norm = (self.log_norm + 0.5 * self.spread.square()).exp()
        return ((resultant * norm).unsqueeze(-1) * self.direction).float()

    @property
    def mode_component(self) -> torch.Tensor:
        """The mean of its only component, [B, D], float32."""
        return self.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        value = value.double()
        dim = value.shape[-1]
        norm = torch.linalg.vector_norm(value, dim=-1).clamp_min(LEAST_NORM)
        aligned = (value * self.direction).sum(-1) / norm
        order = dim / 2.0 - 1.0
        constant = order * self.kappa.log() - dim / 2.0 * LOG_2PI - log_bessel(order, self.kappa)
        z = (norm.log() - self.log_norm) / self.spread
        magnitude = -0.5 * (z.square() + LOG_2PI) - self.spread.log() - dim * norm.log()
        together: torch.Tensor = constant + self.kappa * aligned + magnitude
        return together

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            centre = self.direction.expand(shape)
            along = self._aligned(self.kappa.expand(shape[:-1])).unsqueeze(-1)
            across = torch.randn_like(centre)
            across -= (across * centre).sum(-1, keepdim=True) * centre
            sine = (1.0 - along.square()).clamp_min(0.0).sqrt()
            unit = along * centre + sine * F.normalize(across, dim=-1)
            norm = (self.log_norm + self.spread * torch.randn_like(along[..., 0])).exp()
            return (norm.unsqueeze(-1) * unit).float()

    def _aligned(self, kappa: torch.Tensor) -> torch.Tensor:
        """Draws of the cosine with the centre, by Wood's rejection (1994, algorithm VM*)."""
        across = self.direction.shape[-1] - 1.0
        if not across:
            return torch.where(torch.rand_like(kappa) < (2.0 * kappa).sigmoid(), 1.0, -1.0)
        ratio = across / (2.0 * kappa + (4.0 * kappa.square() + across**2).sqrt())
        place = (1.0 - ratio) / (1.0 + ratio)
        # ln(1 - place^2), which loses no digits where place is close to 1.
        peak = kappa * place + across * ((4.0 * ratio).log() - 2.0 * ratio.log1p())
        beta = Beta(kappa.new_tensor(across / 2.0), kappa.new_tensor(across / 2.0))
        found, missing = torch.ones_like(kappa), torch.ones_like(kappa, dtype=torch.bool)
        for _ in range(MOST_TRIES):
            share = beta.sample(kappa.shape)
            tried = (1.0 - (1.0 + ratio) * share) / (1.0 - (1.0 - ratio) * share)
            fit = kappa * tried + across * torch.log1p(-place * tried) - peak
            taken = missing & (fit >= torch.rand_like(kappa).log())
            found = torch.where(taken, tried, found)
            missing &= ~taken
            if not missing.any():
                break
        return found


class DirectionalHead(Head):
    """`DirectionalDensity` of each state, its parameters kept in range by soft clamps.

    The original's log sigma and kappa stuck at clamps that pass no gradient.
    """

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.direction = nn.Linear(width, dim)
        self.shape = nn.Linear(width, 3)

    def forward(self, states: torch.Tensor) -> DirectionalDensity:
        """The density of each state."""
        log_kappa, log_norm, log_spread = self.shape(states).unbind(-1)
        return DirectionalDensity(
            F.normalize(self.direction(states), dim=-1),
            soft_clamp(log_kappa, LEAST_LOG_KAPPA, math.log(MOST_KAPPA_PER_DIM * self.dim)),
            0.5 * math.log(self.dim) + soft_clamp(log_norm, -LOG_NORM_REACH, LOG_NORM_REACH),
            soft_clamp(log_spread, *LOG_SPREADS),
        )


def log_bessel(order: float, x: torch.Tensor) -> torch.Tensor:
    r"""Logarithm of the modified Bessel function I of the first kind, differentiable in x > 0.

    Debye's uniform expansion (DLMF 10.41.3) for orders of at least 30. For lower ones the ratios
    of neighbours are followed down, r(v - 1) = 1 / (2 v / x + r(v)), which is stable.

    Args:
        order: at least -1/2.
        x: float64.
    """
    steps = max(0, math.ceil(LEAST_ORDER - order))
    found = _debye(order + steps, x)
    ratio = (_debye(order + steps + 1.0, x) - found).exp()
    for step in range(steps, 0, -1):
        ratio = 1.0 / (2.0 * (order + step) / x + ratio)
        found = found - ratio.log()
    return found


def _debye(order: float, x: torch.Tensor) -> torch.Tensor:
    z = x / order
    root = (1.0 + z.square()).sqrt()
    p = 1.0 / root
    q = p.square()
    terms = (
        p * (3.0 - 5.0 * q) / 24.0 / order
        + q * (81.0 - 462.0 * q + 385.0 * q**2) / 1_152.0 / order**2
        + p
        * q
        * (30_375.0 - 369_603.0 * q + 765_765.0 * q**2 - 425_425.0 * q**3)
        / 414_720.0
        / order**3
    )
    growth = order * (root + (z / (1.0 + root)).log())
    return growth - 0.5 * (math.log(2.0 * math.pi * order) + root.log()) + terms.log1p()
