"""A mixture density network that no context can make infinitely wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from latentbench.predictors.densities import LOG_2PI, Components, FrameDensity
from latentbench.predictors.mixture import DiagonalGaussianMixture, StudentMixture
from latentbench.predictors.recycling_linear import RecyclingLinear
from latentbench.predictors.standardised import Rescaled, StandardisedPredictor
from latentbench.predictors.training import train

if TYPE_CHECKING:
    from typing import Literal

    from latentbench.predictors.densities import Shape
    from latentbench.predictors.neural.options import NeuralOptions
    from latentbench.predictors.plugin import MdnRobustOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["AnchoredDensity", "AnchoredLayers", "RobustNetwork"]

# Standardised targets have sigma 1; e^2 leaves room for frames seven times as loud.
MAX_LOG_SIGMA = 2.0

# The learned components must not start so far below the marginal that they get no gradient.
INITIAL_LOG_SIGMA = 0.0
INITIAL_GATE = -4.0

LEAST_DEGREES = 2.0
INITIAL_DEGREES = 8.0
MAX_LOG_DEGREES = 10.0


class AnchoredDensity(FrameDensity):
    r"""A mixture of a learned density q and the standard Gaussian, which is always present.

    .. math::
        p(z) = w\, \mathcal N(z; 0, I) + (1 - w)\, q(z), \quad
        w = \epsilon + (1 - \epsilon)\, \mathrm{sigmoid}(g)

    So -ln p <= -ln N(z; 0, I) - ln epsilon for every z. The Gaussian part is computed in
    float64, and so is the sum; `log_prob` returns float64.

    Args:
        learned: q, batch [B], event [D].
        gate: g, [B].
        least: epsilon, the smallest weight of the Gaussian.
    """

    def __init__(self, learned: DiagonalGaussianMixture, gate: torch.Tensor, least: float) -> None:
        self.learned = learned
        self._gate = gate.double()
        self._least = least
        super().__init__(learned.batch_shape, learned.event_shape)

    @property
    def anchor_weight(self) -> torch.Tensor:
        """The weight w of the Gaussian, float64 [B]."""
        return self._least + (1.0 - self._least) * self._gate.sigmoid()

    @property
    def components(self) -> Components:
        """Those that were learned, (1 - w) pi_i each, and last the Gaussian, w; float64."""
        learned = self.learned.components
        anchor = self.anchor_weight.unsqueeze(-1)
        origin = anchor.new_zeros(*self.batch_shape, 1, *self.event_shape)
        floor = torch.as_tensor(learned.floor).expand(learned.means.shape[-2:])
        degrees = learned.degrees
        if degrees is not None:
            degrees = torch.cat([degrees, degrees.new_full((1,), math.inf)])
        return Components(
            torch.cat([(1.0 - anchor) * learned.weights, anchor], -1),
            torch.cat([learned.means.double(), origin], -2),
            torch.cat([learned.sigmas.double(), origin + 1.0], -2),
            torch.cat([floor, torch.full_like(floor[:1], -math.inf)]).to(anchor.device),
            degrees,
        )

    @property
    def mean(self) -> torch.Tensor:
        """[B, D], float64."""
        return (1.0 - self.anchor_weight).unsqueeze(-1) * self.learned.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, float64 [..., B] for values [..., B, D]."""
        value = value.double()
        anchor = -0.5 * (value.square().sum(-1) + LOG_2PI * value.shape[-1])
        # 1 - w = (1 - epsilon) sigmoid(-g): no digits are lost where w is close to 1.
        others = math.log1p(-self._least) + F.logsigmoid(-self._gate)
        learned = self.learned.log_prob(value).double() + others
        return torch.logaddexp(anchor + self.anchor_weight.log(), learned)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, float32 [*sample_shape, B, D]."""
        with torch.no_grad():
            learned = self.learned.sample(sample_shape)
            weight = self.anchor_weight.expand(learned.shape[:-1])
            anchored = torch.rand_like(weight) < weight
            return torch.where(anchored.unsqueeze(-1), torch.randn_like(learned), learned)


class AnchoredLayers(nn.Module):
    """Layers from a hidden vector to K components and the gate of the marginal beside them.

    A base of modules, whose own the layers are; they call `add_layers` once.
    """

    def add_layers(
        self,
        options: MdnRobustOptions | NeuralOptions,
        *,
        width: int,
        dim: int,
        tails: Literal["gaussian", "student-t"],
    ) -> None:
        """Make the layers.

        Args:
            options: `components`, `sigma_floor` and `marginal_weight` are read.
            width: of the hidden vector.
            dim: D.
            tails: of the components; those of `student-t` learn one nu >= 2 each.
        """
        components = options.components
        self.bounds = (math.log(options.sigma_floor), MAX_LOG_SIGMA)
        self.least = options.marginal_weight
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

    def anchored(self, hidden: torch.Tensor) -> AnchoredDensity:
        """The density of the standardised target for each hidden vector, [B, width]."""
        logits = self.logits(hidden)
        shape = (*logits.shape, -1)
        parts = (logits, self.means(hidden).view(shape), self.log_sigmas(hidden).view(shape))
        learned = (
            StudentMixture(*parts, self.degrees, self.bounds)
            if hasattr(self, "log_degrees")
            else DiagonalGaussianMixture(*parts, self.bounds)
        )
        return AnchoredDensity(learned, self.gate(hidden).squeeze(-1), self.least)


class RobustNetwork(StandardisedPredictor, AnchoredLayers):
    r"""The network of `mdn` on standardised frames, anchored to the fitted marginal.

    Contexts and targets are standardised by the means and standard deviations of the training
    frames (those of the targets as `marginal` fits them), the density with its exact Jacobian.
    Contexts are clipped to +-`clip`; values that are not finite are taken as the mean (nan) or
    the bound (infinite). The learned mixture has sigma >= `sigma_floor` of the marginal's, and
    `AnchoredDensity` adds the marginal itself with a learned weight of at least
    `marginal_weight`: every frame scores at most -ln `marginal_weight` nats (6.9) worse than
    under `marginal`, whatever its context.

    `tails=student-t` makes the learned components multivariate Student-t with one learned
    nu >= 2 each. `context_noise` is the standard deviation of Gaussian noise on standardised
    contexts, in training only.
    """

    options: MdnRobustOptions

    def __init__(self, options: MdnRobustOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.hidden1 = RecyclingLinear(context_frames * dim, options.width)
        self.hidden2 = RecyclingLinear(options.width, options.width)
        self.add_layers(options, width=options.width, dim=dim, tails=options.tails)

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Standardise by the training frames, then minimise their mean NLL.

        Raises:
            LatentbenchError: fewer than two frames, frames that are not finite, or training
                diverged.
        """
        self.standardise_by(train_frames, "mdn-robust")
        train(self, train_frames, training)

    def forward(self, context: torch.Tensor) -> Rescaled:
        """The density of each context, [B, W, D]."""
        hidden = F.gelu(self.hidden1(self.standardised(context).flatten(-2)))
        hidden = F.gelu(self.hidden2(hidden))
        return Rescaled(self.anchored(hidden), self.target_mean, self.target_scale)
