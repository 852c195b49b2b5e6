"""A learned density that never falls far below a fixed one, whatever it was given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from latentbench.predictors.densities import Components
from latentbench.predictors.linear import RecyclingLinear
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.student import StudentMixture

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["AnchoredDensity", "AnchoredLayers"]

Shape: TypeAlias = "torch.Size | list[int] | tuple[int, ...]"

LOG_2PI = math.log(2.0 * math.pi)

# Standardised targets have sigma 1; e^2 leaves room for frames seven times as loud.
MAX_LOG_SIGMA = 2.0

# The learned components must not start so far below the marginal that they get no gradient.
INITIAL_LOG_SIGMA = 0.0
INITIAL_GATE = -4.0

LEAST_DEGREES = 2.0
INITIAL_DEGREES = 8.0
MAX_LOG_DEGREES = 10.0


class AnchoredDensity(Distribution):
    r"""A mixture of a learned density q and a diagonal Gaussian that is always present.

    .. math::
        p(y) = \bigl[w\, \mathcal N(z; 0, I) + (1 - w)\, q(z)\bigr] \prod_d s_d^{-1}, \quad
        z = (y - m) / s, \quad w = \epsilon + (1 - \epsilon)\, \mathrm{sigmoid}(g)

    q is a density of the standardised target z; the product is the Jacobian. The Gaussian part
    is N(m, s^2), so -ln p <= -ln N(y; m, s^2) - ln epsilon for every y. It is computed in
    float64, and so is the sum; `log_prob` returns float64, `mean` and `sample` float32.

    Args:
        learned: q, batch [B], event [D].
        gate: g, [B].
        least: epsilon, the smallest weight of the Gaussian.
        mean: m, float64 [D].
        scale: s, float64 [D].
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute
    support = constraints.real_vector

    def __init__(
        self,
        learned: DiagonalGaussianMixture | StudentMixture,
        gate: torch.Tensor,
        least: float,
        *,
        mean: torch.Tensor,
        scale: torch.Tensor,
    ) -> None:
        self.learned = learned
        self._gate = gate.double()
        self._least = least
        self._mean = mean
        self._scale = scale
        super().__init__(learned.batch_shape, learned.event_shape, validate_args=False)

    @property
    def anchor_weight(self) -> torch.Tensor:
        """The weight w of the Gaussian, float64 [B]."""
        return self._least + (1.0 - self._least) * self._gate.sigmoid()

    @property
    def components(self) -> Components:
        """Those that were learned, (1 - w) pi_i each, and last the Gaussian, w; float64."""
        learned = self.learned.components.rescaled(self._mean, self._scale)
        anchor = self.anchor_weight.unsqueeze(-1)
        one = (*self.batch_shape, 1, *self.event_shape)
        floor = torch.as_tensor(learned.floor).expand(learned.means.shape[-2:])
        degrees = learned.degrees
        if degrees is not None:
            degrees = torch.cat([degrees, degrees.new_full((1,), math.inf)])
        return Components(
            torch.cat([(1.0 - anchor) * learned.weights, anchor], -1),
            torch.cat([learned.means, self._mean.expand(one)], -2),
            torch.cat([learned.sigmas, self._scale.expand(one)], -2),
            torch.cat([floor, torch.full_like(floor[:1], -math.inf)]),
            degrees,
        )

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float32."""
        learned = (1.0 - self.anchor_weight).unsqueeze(-1) * self.learned.mean
        return (self._mean + self._scale * learned).float()

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        z = (value.double() - self._mean) / self._scale
        anchor = -0.5 * (z.square().sum(-1) + LOG_2PI * z.shape[-1])
        learned = self.learned.log_prob(z.float()).double()
        # 1 - w = (1 - epsilon) sigmoid(-g): no digits are lost where w is close to 1.
        others = math.log1p(-self._least) + F.logsigmoid(-self._gate)
        together = torch.logaddexp(anchor + self.anchor_weight.log(), learned + others)
        return together - self._scale.log().sum()

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        with torch.no_grad():
            learned = self.learned.sample(sample_shape)
            weight = self.anchor_weight.expand(learned.shape[:-1])
            anchored = torch.rand_like(weight) < weight
            z = torch.where(anchored.unsqueeze(-1), torch.randn_like(learned), learned)
            return (self._mean + self._scale * z).float()


class AnchoredLayers(nn.Module):
    """Layers from a hidden vector to K components and the gate of the marginal beside them.

    A base of modules, whose own the layers are; they call `add_layers` once.
    """

    def add_layers(
        self,
        width: int,
        dim: int,
        *,
        components: int,
        tails: Literal["gaussian", "student-t"],
        sigma_floor: float,
        marginal_weight: float,
    ) -> None:
        """Make the layers.

        Args:
            width: of the hidden vector.
            dim: D.
            components: K.
            tails: of the components; those of `student-t` learn one nu >= 2 each.
            sigma_floor: smallest sigma, relative to the marginal's.
            marginal_weight: smallest weight of the marginal.
        """
        self.components = components
        self.bounds = (math.log(sigma_floor), MAX_LOG_SIGMA)
        self.least = marginal_weight
        self.logits = RecyclingLinear(width, components)
        self.means = RecyclingLinear(width, components * dim)
        self.log_sigmas = RecyclingLinear(width, components * dim)
        self.gate = RecyclingLinear(width, 1)
        nn.init.constant_(self.log_sigmas.bias, INITIAL_LOG_SIGMA)
        nn.init.constant_(self.gate.bias, INITIAL_GATE)
        if tails == "student-t":
            start = math.log(INITIAL_DEGREES - LEAST_DEGREES)
            self.log_degrees = nn.Parameter(torch.full((components,), start))

    @property
    def degrees(self) -> torch.Tensor:
        """Nu of each Student-t component, [K]."""
        return LEAST_DEGREES + self.log_degrees.clamp_max(MAX_LOG_DEGREES).exp()

    def anchored(
        self, hidden: torch.Tensor, *, mean: torch.Tensor, scale: torch.Tensor
    ) -> AnchoredDensity:
        """The density of each hidden vector, [B, width].

        Args:
            hidden: [B, width].
            mean: of the marginal, float64 [D].
            scale: standard deviations of the marginal, float64 [D].
        """
        shape = (*hidden.shape[:-1], self.components, len(mean))
        parts = (
            self.logits(hidden),
            self.means(hidden).view(shape),
            self.log_sigmas(hidden).view(shape),
        )
        return AnchoredDensity(
            StudentMixture(*parts, self.degrees, self.bounds)
            if hasattr(self, "log_degrees")
            else DiagonalGaussianMixture(*parts, self.bounds),
            self.gate(hidden).squeeze(-1),
            self.least,
            mean=mean,
            scale=scale,
        )
