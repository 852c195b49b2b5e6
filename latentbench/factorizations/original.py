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

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from latentbench.errors import UsageError
from latentbench.factorizations.factorization import Account, Factorization
from latentbench.latents.transform import moments
from latentbench.progress import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.factorizations.factorization import Fitting
    from latentbench.factorizations.plugin import OriginalOptions
    from latentbench.latents import Latents

__all__ = ["Original"]

LOG_2PI = math.log(2 * math.pi)
LEAST_LOG, MOST_LOG = -6.0, 1.0
OF_RATE, OF_DYNAMICS = 0.5, 0.01
WEIGHT_DECAY = 1e-4
CLIP = 1.0


class Network(nn.Module):
    """Its maps, for frames [B, T, D], states of `dim` and innovations of `innovation`."""

    def __init__(self, frames: int, dim: int, innovation: int, width: int) -> None:
        super().__init__()
        self.memory = nn.GRU(frames, width, batch_first=True)
        self.narrow = nn.Sequential(nn.Linear(width, dim), nn.LayerNorm(dim))
        self.posterior = _mlp(frames + dim, width, 2 * innovation)
        self.prior = _mlp(dim, width, 2 * innovation)
        self.decoder = _mlp(dim + innovation, 2 * width, frames)
        self.dynamics = nn.GRU(dim, width, batch_first=True)
        self.next = nn.Linear(width, dim)

    def states(self, frames: torch.Tensor) -> torch.Tensor:
        """z_dyn of every frame."""
        found: torch.Tensor = self.narrow(self.memory(frames)[0])
        return found

    def belief(self, states: torch.Tensor, frames: torch.Tensor) -> tuple[Normal, Normal]:
        """The posterior and the prior of z_rec."""
        posterior = self.posterior(torch.cat([frames, states], -1))
        return _normal(posterior), _normal(self.prior(states))

    def rebuild(self, states: torch.Tensor, innovation: torch.Tensor) -> torch.Tensor:
        """The decoded frames."""
        found: torch.Tensor = self.decoder(torch.cat([states, innovation], -1))
        return found

    def surprise(self, states: torch.Tensor) -> torch.Tensor:
        """NLL of each state but the first given those before it, of unit variance, [B, T - 1]."""
        expected = self.next(self.dynamics(states[:, :-1])[0])
        missed: torch.Tensor = states[:, 1:] - expected
        return 0.5 * (missed.square() + LOG_2PI).sum(-1)


class Original(Factorization):
    """z_dyn of the published attempt."""

    mean: torch.Tensor
    scale: torch.Tensor
    network: Network

    def __init__(self, options: OriginalOptions) -> None:
        self.options = options

    @property
    def dim(self) -> int:
        """The option `dim`."""
        return self.options.dim

    def fit(self, latents: Latents, train: Sequence[int], fitting: Fitting) -> None:
        """Train on whole utterances of train.

        Raises:
            UsageError: no train utterance is longer than a frame.
        """
        mean, covariance = moments(latents, train)
        deviation = np.sqrt(np.diag(covariance))
        self.mean = torch.from_numpy(mean).float()
        self.scale = torch.from_numpy(np.where(deviation > 0, deviation, 1.0)).float()
        utterances = [
            self._standardised(one) for one in map(latents.utterance, train) if len(one) > 1
        ]
        if not utterances:
            raise UsageError("original has no train utterance of two frames.", "Use longer ones.")
        with torch.random.fork_rng():
            torch.manual_seed(self.options.seed)
            self.network = self._made(latents.dim).to(fitting.device)
            self._train(utterances, fitting)
            self.network = self.network.cpu()

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The states."""
        with torch.inference_mode():
            return self.network.states(self._standardised(frames)[None])[0].clone()

    def decode(self, states: torch.Tensor) -> torch.Tensor:
        """What the decoder makes of the states and the mean of their prior."""
        with torch.inference_mode():
            prior = _normal(self.network.prior(states))
            return self.mean + self.network.rebuild(states, prior.mean) * self.scale

    def state(self) -> Mapping[str, torch.Tensor]:
        """The standardisation and the weights."""
        weights = {f"network.{name}": one for name, one in self.network.state_dict().items()}
        return {"mean": self.mean, "scale": self.scale, **weights}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""
        self.mean, self.scale = state["mean"], state["scale"]
        self.network = self._made(len(self.mean))
        prefix = "network."
        self.network.load_state_dict(
            {name[len(prefix) :]: one for name, one in state.items() if name.startswith(prefix)}
        )

    def account(self, frames: torch.Tensor) -> Account:
        """The KL of each frame; its state and innovation are no code, as the state sees x_t."""
        standard = self._standardised(frames)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(self.options.seed)
            states = self.network.states(standard[None])[0]
            posterior, prior = self.network.belief(states, standard)
            rebuilt = self.network.rebuild(states, posterior.rsample())
            kl = kl_divergence(posterior, prior).sum(-1)
        return Account(None, self.mean + rebuilt * self.scale, kl)

    def _made(self, frames: int) -> Network:
        options = self.options
        return Network(frames, options.dim, options.innovation, options.width)

    def _standardised(self, frames: torch.Tensor) -> torch.Tensor:
        return (frames - self.mean) / self.scale

    def _train(self, utterances: Sequence[torch.Tensor], fitting: Fitting) -> None:
        options, network = self.options, self.network
        optimiser = torch.optim.AdamW(
            network.parameters(), options.learning_rate, weight_decay=WEIGHT_DECAY
        )
        with fitting.progress.task("fitting original", options.steps, STEPS) as meter:
            for step in range(options.steps):
                target = options.budget * min(1.0, step / options.warmup)
                loss = self._loss(*_batch(utterances, options.batch_size, fitting.device), target)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), CLIP)
                optimiser.step()
                meter.advance(1)

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


def _normal(values: torch.Tensor) -> Normal:
    mean, scale = values.chunk(2, -1)
    return Normal(mean, scale.clamp(LEAST_LOG, MOST_LOG).exp(), validate_args=False)
