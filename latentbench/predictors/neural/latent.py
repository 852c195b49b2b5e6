"""A head with a latent variable: its NLL is a bound, estimated by importance sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.distributions import Normal, kl_divergence

from latentbench.factorizations.maps import GaussianMap, ResidualMap
from latentbench.predictors.neural.head import ROWS, GenerativeHead, RandomTable, soft_clamp
from latentbench.predictors.robust import MAX_LOG_SIGMA

if TYPE_CHECKING:
    from latentbench.predictors.neural.head import Noise
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = ["LatentHead"]

DRAWS_SEED = 1_312
BLOCK_VALUES = 1 << 22


class LatentHead(GenerativeHead):
    r"""An innovation e between the state h and the target z, of as many dimensions as z.

    .. math:: p(z \mid h) = \int N(z; f(h, e), s(h, e)^2)\, p(e \mid h)\, de

    Trained by the evidence lower bound, with a posterior q(e | h, z) (Kingma & Welling 2014;
    Hafner et al. 2019 for the recurrent model). Scored by K = `draws` draws of the posterior,

    .. math:: \ln \tfrac1K \sum_k p(z, e_k \mid h) / q(e_k \mid h, z),

    whose expectation is at most ln p, rises with K, and for K = 1 is the evidence lower bound
    (Burda, Grosse & Salakhutdinov 2016). The draws of a frame are its own: a score is always the
    same, and the noise of different frames is independent.
    """

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        inner = options.head_width
        self.prior = GaussianMap(width, dim, inner)
        self.posterior = GaussianMap(width + dim, dim, inner)
        self.decoder = ResidualMap(width + dim, 2 * dim, inner)
        generator = torch.Generator().manual_seed(DRAWS_SEED)
        self.table = RandomTable(torch.randn(ROWS, dim, generator=generator))

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The negative evidence lower bound, by one draw a frame and the KL in closed form."""
        posterior, prior = self._beliefs(states, target)
        told = _log_prob(self._told(states, posterior.rsample()), target)
        return (kl_divergence(posterior, prior).sum(-1) - told).mean()

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """An innovation by the prior, and a target given it, [S, N, D]."""
        prior: Normal = self.prior(states)
        found = self._told(states, prior.mean + prior.stddev * noise())
        return found.mean + found.stddev * noise()

    def log_density(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The bound of each frame, nats, [N]."""
        draws = self.options.draws
        rows = max(1, BLOCK_VALUES // (draws * max(self.dim, self.options.head_width)))
        pairs = zip(torch.split(states, rows), torch.split(target, rows), strict=True)
        found = torch.cat([self._weights(*one).logsumexp(0) for one in pairs])
        return found - math.log(draws)

    def remark(self, states: torch.Tensor, target: torch.Tensor) -> str:
        """What the innovation carries, and how far importance sampling moves the bound."""
        carried = float(kl_divergence(*self._beliefs(states, target)).sum(-1).mean())
        weights = self._weights(states, target)
        gained = self.log_density(states, target) - weights.mean(0)
        return (
            f"The innovation carries {carried:.2f} nats per frame. The bound by "
            f"{self.options.draws} draws is {float(gained.mean()):.2f} nats per frame below that "
            "by one."
        )

    def _beliefs(self, states: torch.Tensor, target: torch.Tensor) -> tuple[Normal, Normal]:
        posterior: Normal = self.posterior(torch.cat([states, target], -1))
        return posterior, self.prior(states)

    def _told(self, states: torch.Tensor, innovation: torch.Tensor) -> Normal:
        """The density of the target given states [N, H] and innovations [..., N, D]."""
        wide = states.expand(*innovation.shape[:-1], -1)
        mean, log_scale = self.decoder(torch.cat([wide, innovation], -1)).chunk(2, -1)
        scale = soft_clamp(log_scale, math.log(self.options.sigma_floor), MAX_LOG_SIGMA).exp()
        return Normal(mean, scale, validate_args=False)

    def _weights(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logarithms of the importance weights of every draw, [K, N]."""
        posterior, prior = self._beliefs(states, target)
        drawn = posterior.mean + posterior.stddev * self.table(target, self.options.draws)
        joint = _log_prob(self._told(states, drawn), target) + _log_prob(prior, drawn)
        return joint - _log_prob(posterior, drawn)


def _log_prob(density: Normal, values: torch.Tensor) -> torch.Tensor:
    """Nats per frame, [..., N] of values [..., N, D]."""
    found: torch.Tensor = density.log_prob(values)  # type: ignore[no-untyped-call] # torch's
    return found.sum(-1)
