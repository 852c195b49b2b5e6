"""The factorisation of the published attempt (Phase 3), with its faults, to be looked at.

x is standardised. z_dyn_t = LayerNorm(Linear(GRU(x_1..x_t))), which sees x_t; posterior
q(z_rec | x, z_dyn) and prior p(z_rec | z_dyn) are MLPs, the decoder takes z_dyn and z_rec, half of
the frames with a draw of the prior. A second GRU predicts z_dyn from its past with unit variance.
The loss is MSE + ½ |KL - target| + 0.01 NLL of the dynamics; the target rises to its budget while
training warms up. As z_dyn sees the frame it is of, nothing makes z_rec carry anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from latentbench.factorizations.factorization import Account
from latentbench.factorizations.trained import TrainedFactorization, descend
from latentbench.factorizations.whitening import Whitening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.factorizations.factorization import Fitting
    from latentbench.latents import Latents

__all__ = ["Original"]

LOG_2PI = math.log(2 * math.pi)
LEAST_LOG, MOST_LOG = -6.0, 1.0
OF_RATE, OF_DYNAMICS = 0.5, 0.01
WEIGHT_DECAY = 1e-4


class Gaussian(nn.Sequential):
    """Layers that give means and log standard deviations, as a density."""

    def forward(self, inputs: torch.Tensor) -> Normal:
        """The density given [..., inputs]."""
        given = super().forward(inputs)  # type: ignore[no-untyped-call] # torch leaves it untyped
        mean, scale = given.chunk(2, -1)
        return Normal(mean, scale.clamp(LEAST_LOG, MOST_LOG).exp(), validate_args=False)


class Network(nn.Module):
    """Its maps, for frames [B, T, D], states of `dim` and innovations of `innovation`."""

    def __init__(self, frames: int, dim: int, innovation: int, width: int) -> None:
        super().__init__()
        self.memory = nn.GRU(frames, width, batch_first=True)
        self.narrow = nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim))
        self.posterior = Gaussian(*_mlp(frames + dim, width, 2 * innovation))
        self.prior = Gaussian(*_mlp(dim, width, 2 * innovation))
        self.decoder = _mlp(dim + innovation, 2 * width, frames)
        self.dynamics = nn.GRU(dim, width, batch_first=True)
        self.next = nn.Linear(width, dim)

    def states(self, frames: torch.Tensor) -> torch.Tensor:
        """z_dyn of every frame."""
        found: torch.Tensor = self.narrow(self.memory(frames)[0])
        return found

    def belief(self, states: torch.Tensor, frames: torch.Tensor) -> tuple[Normal, Normal]:
        """The posterior and the prior of z_rec."""
        posterior: Normal = self.posterior(torch.cat([frames, states], -1))
        prior: Normal = self.prior(states)
        return posterior, prior

    def rebuild(self, states: torch.Tensor, innovation: torch.Tensor) -> torch.Tensor:
        """The decoded frames."""
        found: torch.Tensor = self.decoder(torch.cat([states, innovation], -1))
        return found

    def surprise(self, states: torch.Tensor) -> torch.Tensor:
        """NLL of each state but the first given those before it, of unit variance, [B, T - 1]."""
        expected = self.next(self.dynamics(states[:, :-1])[0])
        missed: torch.Tensor = states[:, 1:] - expected
        return 0.5 * (missed.square() + LOG_2PI).sum(-1)


class Original(TrainedFactorization):
    """z_dyn of the published attempt."""

    name = "original"
    network: Network

    def coordinates(self, latents: Latents, train: Sequence[int]) -> Whitening:
        """Each dimension of mean 0 and unit variance."""
        return Whitening.standardising(latents, train)

    def made(self, kept: int) -> Network:
        """The maps of the model."""
        options = self.options
        return Network(kept, options.dim, options.innovation, options.width)

    def account(self, frames: torch.Tensor) -> Account:
        """The KL of each frame; its state and innovation are no code, as the state sees x_t."""
        rebuilt, kl = self.drawn(self.whitening.whiten(frames))
        return Account(None, self.whitening.colour(rebuilt), kl)

    def learn(self, utterances: Sequence[torch.Tensor], fitting: Fitting) -> None:
        """Train on whole utterances."""
        options = self.options
        optimiser = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, weight_decay=WEIGHT_DECAY
        )

        def loss(step: int) -> torch.Tensor:
            target = options.budget * min(1.0, step / options.warmup)
            return self._loss(*_batch(utterances, options.batch_size, fitting.device), target)

        descend(loss, optimiser, options.steps, fitting, name=self.name)

    def _loss(self, frames: torch.Tensor, there: torch.Tensor, target: float) -> torch.Tensor:
        """Over the frames that are there, [B, T]; the others are padding."""
        network = self.network
        states = network.states(frames)
        posterior, prior = network.belief(states, frames)
        by_prior = torch.rand_like(frames[..., :1]) < 0.5  # noqa: PLR2004 - half of the frames
        drawn = torch.where(by_prior, prior.rsample(), posterior.rsample())
        error = (frames - network.rebuild(states, drawn)).square().mean(-1)
        kl = kl_divergence(posterior, prior).sum(-1)
        dynamics = network.surprise(states)[there[:, 1:]].mean()
        rate = (kl[there].mean() - target).abs()
        return error[there].mean() + OF_RATE * rate + OF_DYNAMICS * dynamics


def _batch(
    utterances: Sequence[torch.Tensor], size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole utterances, padded [B, T, D], and which frames are theirs [B, T]."""
    chosen = [utterances[one] for one in torch.randint(len(utterances), (size,)).tolist()]
    frames = nn.utils.rnn.pad_sequence(list(chosen), batch_first=True)
    lengths = torch.tensor([len(one) for one in chosen])
    there = torch.arange(frames.shape[1]) < lengths[:, None]
    return frames.to(device), there.to(device)


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )
