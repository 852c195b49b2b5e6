r"""A recurrent state-space model: the state is told by the past, the innovation has a budget.

    h_t = GRU(h_{t-1}, m_{t-1}),  prior p(z_t | h_t),  posterior q(z_t | h_t, u_t),
    decoder p(u_t | h_t, z_t),

after PlaNet (Hafner et al., ICML 2019), u being the whitened latents. z_dyn is h_t, the innovation
is z_t. The mean m of the posterior is what the recurrence sees, in training too, and not a sample
of it. So h_t is a function of the frames before t, and for every frame on its own

    -log p(u_t | past) <= KL(q | p) - E log p(u_t | h_t, z_t).

With a budget of B nats the squared error is minimised subject to a KL of B, by dual ascent on the
multiplier. Without one the bound is, its KL balanced and with free nats as in DreamerV3 (Hafner et
al., 2023, eq. 5).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from latentbench.factorizations.factorization import Account
from latentbench.factorizations.maps import GaussianMap, ResidualMap
from latentbench.factorizations.trained import TrainedFactorization, descend
from latentbench.factorizations.whitening import Whitening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.factorizations.factorization import Fitting
    from latentbench.latents import Latents

__all__ = ["Rssm"]

LOG_2PI = math.log(2 * math.pi)
FREE_NATS = 1.0
OF_PRIOR, OF_POSTERIOR = 1.0, 0.1  # weights of the two sides of the balanced KL
DUAL_RATE = 0.05
LEAST_VARIANCE = 1e-4
# Of a component at the start, in nats: without a budget half of its variance; within the bounds.
START_NATS, MOST_START_NATS = 0.5 * math.log(2), 4.0


class Network(nn.Module):
    """The maps of the model, for states of `dim`, innovations of `innovation`, frames of `kept`."""

    def __init__(self, kept: int, dim: int, innovation: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.cell = nn.GRUCell(innovation, dim)
        self.prior = GaussianMap(dim, innovation, width)
        self.posterior = GaussianMap(dim + kept, innovation, width)
        self.decoder = ResidualMap(dim + innovation, kept, width)
        self.log_scale = nn.Parameter(torch.zeros(kept))

    def start(self, left: float) -> None:
        """Start from the best code of white frames that leaves this share of their variance.

        Of as many components as the innovation has room for, each alike (Cover & Thomas, section
        10.3.2). Where random maps have to find each other's inverse, training takes longer.
        """
        kept, innovation = self.decoder.straight.out_features, self.cell.input_size
        told, one = math.sqrt(1 - left) * torch.eye(innovation, kept), torch.ones(innovation)
        self.prior.start_from(torch.zeros(innovation, self.dim), one)
        self.posterior.start_from(told, (one - told.square().sum(1)).sqrt())
        self.decoder.start(told.T)

    def states(self, frames: torch.Tensor) -> torch.Tensor:
        """H of every frame of [B, T, K], from h = 0, [B, T, d]."""
        state = frames.new_zeros(len(frames), self.dim)
        found = []
        for t in range(frames.shape[1]):
            found.append(state)
            mean = self.posterior.middle(torch.cat([state, frames[:, t]], -1))
            state = self.cell(mean, state)
        return torch.stack(found, 1)

    def belief(self, states: torch.Tensor, frames: torch.Tensor) -> tuple[Normal, Normal]:
        """The posterior and the prior of the innovation of each frame."""
        posterior: Normal = self.posterior(torch.cat([states, frames], -1))
        prior: Normal = self.prior(states)
        return posterior, prior

    def rebuild(self, states: torch.Tensor, innovation: torch.Tensor) -> torch.Tensor:
        """The mean of the decoder, [..., K]."""
        rebuilt: torch.Tensor = self.decoder(torch.cat([states, innovation], -1))
        return rebuilt


class Rssm(TrainedFactorization):
    """z_dyn = h_t."""

    name = "rssm"
    past_only = True
    network: Network

    def coordinates(self, latents: Latents, train: Sequence[int]) -> Whitening:
        """Principal components of unit variance."""
        return Whitening.fitted(latents, train, self.options.keep)

    def made(self, kept: int) -> Network:
        """The maps of the model."""
        options = self.options
        return Network(kept, options.dim, options.innovation or kept, options.width)

    def account(self, frames: torch.Tensor) -> Account:
        """The bound of each frame, by one draw of the innovation, the same for the same frames."""
        whitened = self.whitening.whiten(frames)
        rebuilt, kl = self.drawn(whitened)
        scale = self.network.log_scale.detach()
        error = (whitened - rebuilt).square()
        density = 0.5 * (error * (-2 * scale).exp() + 2 * scale + LOG_2PI).sum(-1)
        return Account(kl + density, self.whitening.colour(rebuilt), kl)

    def learn(self, utterances: Sequence[torch.Tensor], fitting: Fitting) -> None:
        """Train on random stretches."""
        options, network = self.options, self.network
        stretches = _Stretches(utterances, options.frames, options.batch_size)
        optimiser = torch.optim.Adam(network.parameters(), options.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
        left = self._left()
        network.start(left)
        multiplier = _Multiplier(options.budget, options.steps, left)

        def loss(_: int) -> torch.Tensor:
            return self._loss(stretches.draw().to(fitting.device), multiplier)

        descend(loss, optimiser, options.steps, fitting, name=self.name, after=schedule.step)
        self.network = network.cpu()
        self._calibrate(utterances)

    def _left(self) -> float:
        """What is left of each component's variance where the budget is spent on all alike."""
        innovation = self.network.cell.input_size
        nats = self.options.budget / min(innovation, self.whitening.kept) or START_NATS
        return math.exp(-2 * min(nats, MOST_START_NATS))

    def _loss(self, frames: torch.Tensor, multiplier: _Multiplier) -> torch.Tensor:
        network = self.network
        states = network.states(frames)
        posterior, prior = network.belief(states, frames)
        error = (frames - network.rebuild(states, posterior.rsample())).square()
        if not self.options.budget:
            return _density(error, network.log_scale) + _balanced(posterior, prior)
        kl = kl_divergence(posterior, prior).sum(-1).mean()
        loss = error.sum(-1).mean() + multiplier.value * kl
        multiplier.rise(float(kl.detach()))
        return loss

    def _calibrate(self, utterances: Sequence[torch.Tensor]) -> None:
        """The variance of the decoder is what it misses on train, a number a dimension."""
        total, count = torch.zeros(self.whitening.kept, dtype=torch.float64), 0
        with torch.inference_mode():
            for frames in utterances:
                states = self.network.states(frames[None])[0]
                posterior, _ = self.network.belief(states, frames)
                missed = frames - self.network.rebuild(states, posterior.rsample())
                total += missed.double().square().sum(0)
                count += len(frames)
        with torch.no_grad():
            variance = (total / count).clamp(min=LEAST_VARIANCE)
            self.network.log_scale.copy_(0.5 * variance.log())


class _Multiplier:
    """The price of a nat, by dual ascent on its logarithm: up where the KL is over its budget.

    It starts at what a nat saves of the error of a component of which `left` is left.
    """

    def __init__(self, budget: float, steps: int, left: float) -> None:
        self.budget = budget
        self.steps = steps
        self.step = 0
        self.log = math.log(2 * left)

    @property
    def value(self) -> float:
        return math.exp(self.log)

    def rise(self, kl: float) -> None:
        """After a step; by less and less, as the learning rate falls."""
        self.step += 1
        rate = DUAL_RATE * (1.1 - self.step / self.steps)
        self.log += rate * max(-1.0, min(kl / self.budget - 1, 1.0))


class _Stretches:
    """Batches of stretches of equally many frames, drawn from utterances by their length.

    Where utterances are short a stretch is as long as the median one: half of them take part.
    """

    def __init__(self, utterances: Sequence[torch.Tensor], frames: int, batch: int) -> None:
        lengths = torch.tensor([len(one) for one in utterances])
        self.frames = min(frames, int(lengths.median()))
        self.long = [one for one in utterances if len(one) >= self.frames]
        self.weights = torch.tensor([float(len(one) - self.frames + 1) for one in self.long])
        self.batch = batch

    def draw(self) -> torch.Tensor:
        """[B, T, K]."""
        chosen = torch.multinomial(self.weights, self.batch, replacement=True).tolist()
        return torch.stack([self._cut(self.long[index]) for index in chosen])

    def _cut(self, utterance: torch.Tensor) -> torch.Tensor:
        start = int(torch.randint(len(utterance) - self.frames + 1, ()))
        return utterance[start : start + self.frames]


def _density(error: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    return (0.5 * error * (-2 * log_scale).exp() + log_scale).sum(-1).mean()


def _balanced(posterior: Normal, prior: Normal) -> torch.Tensor:
    """The KL that trains the prior much and the posterior little, each from `FREE_NATS` on."""
    fixed = [
        Normal(one.mean.detach(), one.stddev.detach(), validate_args=False)
        for one in (posterior, prior)
    ]
    of_prior = kl_divergence(fixed[0], prior).sum(-1).mean().clamp(min=FREE_NATS)
    of_posterior = kl_divergence(posterior, fixed[1]).sum(-1).mean().clamp(min=FREE_NATS)
    return OF_PRIOR * of_prior + OF_POSTERIOR * of_posterior
