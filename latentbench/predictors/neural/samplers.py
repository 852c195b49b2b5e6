"""Heads that give samples and no density: energy score, self-distillation, diffusion, denoiser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from latentbench.predictors.neural.flows import interpolated
from latentbench.predictors.neural.head import GenerativeHead
from latentbench.predictors.neural.residual import ResidualNetwork, load_forward_derivatives

if TYPE_CHECKING:
    from latentbench.predictors.neural.head import Noise
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = ["DenoiserHead", "DiffusionHead", "EnergyHead", "SelfDistilledHead"]

VELOCITY_WEIGHT, CONSISTENCY_WEIGHT = 0.75, 0.25
CONSISTENCY_SHARE = 0.25
WEIGHTING_WIDTH = 64

LEVELS = 1_000
COSINE_OFFSET = 0.008
LARGEST_BETA = 0.999
LARGEST_SAMPLE = 10.0  # standard deviations of the target


class _SamplingHead(GenerativeHead):
    """A residual network that is told so many `times`."""

    by_likelihood = False
    times = 1

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.network = ResidualNetwork(
            dim, width, times=self.times, width=options.head_width, blocks=options.head_blocks
        )


class EnergyHead(_SamplingHead):
    r"""A network from noise to sample, trained by the energy score (CALM, arXiv 2510.27688, §3.2).

    .. math:: L = 2\, E\|X - z\| - E\|X - X'\|, \quad X, X' \sim p

    Estimated without bias from `samples` draws per frame, over all their pairs.
    """

    times = 0

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Twice the mean energy score."""
        noise = torch.randn(self.options.samples, *target.shape, device=target.device)
        drawn = self.network(noise, states)
        one, other = torch.triu_indices(len(drawn), len(drawn), 1, device=target.device)
        away = torch.linalg.vector_norm(drawn - target, dim=-1)
        apart = torch.linalg.vector_norm(drawn[one] - drawn[other], dim=-1)
        loss: torch.Tensor = 2.0 * away.mean() - apart.mean()
        return loss

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """One pass of the network, [S, N, D]."""
        return self.network(noise(), states)


class SelfDistilledHead(_SamplingHead):
    r"""Lagrangian self-distillation: a flow map learned beside its velocity, one step to sample.

    With x_t = (1 - t) e + t z, v = z - e, t = sigmoid(N(0.4, 1)) and u(s, t, x_s) the mean velocity
    of the flow from s to t, so that x_s + (t - s) u is where it leads:

    .. math::
        L = 0.75\, W_{tt} \|u(t, t, x_t) - v\|^2
          + 0.25\, W_{st} \|u + (t - s)\, \partial_t u - \mathrm{sg}\, u(t, t, \hat x_t)\|^2

    s < t are two sorted draws, and the derivative is a Jacobian-vector product. The second term
    is computed in a quarter of the steps, by chance, at four times its weight. W stands for a
    learned weight w(s, t) that starts at 0: a term l becomes l exp(w) / D - w. This is the
    objective of Kyutai's released code, which is not that of their paper (arXiv 2509.06926);
    Boffi, Albergo & Vanden-Eijnden 2025 is its theory. A sample is e + u(0, 1, e) with e of
    variance `temperature`.
    """

    times = 2

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        load_forward_derivatives()
        last = nn.Linear(WEIGHTING_WIDTH, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.weighting = nn.Sequential(nn.Linear(2, WEIGHTING_WIDTH), nn.SiLU(), last)

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The velocity term, and by chance the consistency term."""
        noise = torch.randn_like(target)
        loss = VELOCITY_WEIGHT * self._velocity_term(states, target, noise)
        if float(torch.rand(())) < CONSISTENCY_SHARE:
            term = self._consistency_term(states, target, noise)
            loss = loss + CONSISTENCY_WEIGHT / CONSISTENCY_SHARE * term
        return loss

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """One step of the flow map from t = 0 to t = 1, [S, N, D]."""
        start = math.sqrt(self.options.temperature) * noise()
        zero = start.new_zeros(1)
        return start + self.network(start, states, zero, zero + 1.0)

    def _velocity_term(
        self, states: torch.Tensor, target: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        time = interpolated(target)
        velocity = self.network((1.0 - time) * noise + time * target, states, time, time)
        return self._weighted(velocity - (target - noise), time, time)

    def _consistency_term(
        self, states: torch.Tensor, target: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        draws = torch.cat([interpolated(target), interpolated(target)], -1).sort(-1).values
        s, t = draws[:, :1], draws[:, 1:]
        x = (1.0 - s) * noise + s * target
        u, change = torch.func.jvp(
            lambda until: self.network(x, states, s, until), (t,), (torch.ones_like(t),)
        )[:2]
        with torch.no_grad():
            reached = self.network(x + (t - s) * u, states, t, t)
        return self._weighted(u + (t - s) * change - reached, s, t)

    def _weighted(self, error: torch.Tensor, s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        weight = self.weighting(torch.cat([s, t], -1)).squeeze(-1)
        loss: torch.Tensor = (error.square().mean(-1) * weight.exp() - weight).mean()
        return loss


class DiffusionHead(_SamplingHead):
    r"""Denoising diffusion over the frame (MAR, Li et al., arXiv 2406.11838, §3.1).

    .. math::
        x_l = \sqrt{\bar a_l}\, z + \sqrt{1 - \bar a_l}\, \varepsilon, \quad
        L = \tfrac1D \|e(x_l, l) - \varepsilon\|^2

    1,000 levels of the cosine schedule (Nichol & Dhariwal 2021, eq. 17). Samples are ancestral
    over `steps` levels evenly spaced, with the variance beta of each step, the right one for
    targets of variance 1 (Ho et al. 2020, §3.2). The estimate of z is kept within 10
    standard deviations of the target: at the first levels it would be mostly amplified error.
    """

    kept: torch.Tensor

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.register_buffer("kept", _cosine_schedule(), persistent=False)

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean squared error of the noise."""
        level = torch.randint(LEVELS, target.shape[:-1], device=target.device).unsqueeze(-1)
        kept = self.kept[level]
        noise = torch.randn_like(target)
        noisy = kept.sqrt() * target + (1.0 - kept).sqrt() * noise
        return (self.network(noisy, states, level / LEVELS) - noise).square().mean()

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """From noise down the levels, [S, N, D]."""
        x = noise()
        levels = torch.linspace(LEVELS - 1, 0, self.options.sampling_steps).round().long().tolist()
        for level, below in zip(levels, [*levels[1:], None], strict=True):
            kept = self.kept[level]
            time = x.new_full((1,), level / LEVELS)
            estimate = (x - (1.0 - kept).sqrt() * self.network(x, states, time)) / kept.sqrt()
            estimate = estimate.clamp(-LARGEST_SAMPLE, LARGEST_SAMPLE)
            if below is None:
                return estimate
            ratio = kept / self.kept[below]
            spread = (1.0 - ratio).sqrt()
            x = self._mean_below(x, estimate, kept, ratio) + spread * noise()
        raise AssertionError("there is at least one level")

    @staticmethod
    def _mean_below(
        x: torch.Tensor, estimate: torch.Tensor, kept: torch.Tensor, ratio: torch.Tensor
    ) -> torch.Tensor:
        """The mean of the posterior of x one level down, where the signal is kept / ratio."""
        below = kept / ratio
        signal = below.sqrt() * (1.0 - ratio) * estimate
        return (signal + ratio.sqrt() * (1.0 - below) * x) / (1.0 - kept)


class DenoiserHead(_SamplingHead):
    r"""What the original called its consistency head: a control whose samples have no spread.

    .. math::
        L = \tfrac1D \|f(x_t, t) - z\|^2, \quad
        x_t = (1 - t) \varepsilon + t z, \quad t \sim U(0, 1)

    It regresses on the clean sample, so its sample in one step from noise, f(e, 0), is the
    conditional mean E[z | c] whatever the noise.
    """

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean squared error of the clean sample."""
        time = torch.rand_like(target[..., :1])
        noisy = (1.0 - time) * torch.randn_like(target) + time * target
        return (self.network(noisy, states, time) - target).square().mean()

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """One step from t = 0, [S, N, D]."""
        start = noise()
        return self.network(start, states, start.new_zeros(1))


def _cosine_schedule() -> torch.Tensor:
    """The share of signal variance at each level, [1000], as products of 1 - beta."""
    steps = torch.arange(LEVELS + 1, dtype=torch.float64) / LEVELS
    curve = ((steps + COSINE_OFFSET) / (1.0 + COSINE_OFFSET) * math.pi / 2.0).cos().square()
    betas = (1.0 - curve[1:] / curve[:-1]).clamp_max(LARGEST_BETA)
    return (1.0 - betas).cumprod(0).float()
