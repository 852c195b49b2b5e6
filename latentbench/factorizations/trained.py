"""Factorisations whose states a network makes, trained by gradient descent on whole utterances."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.distributions import kl_divergence

from latentbench.errors import LatentbenchError, UsageError
from latentbench.factorizations.factorization import Factorization
from latentbench.factorizations.whitening import Whitening
from latentbench.progress import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from latentbench.factorizations.factorization import Fitting
    from latentbench.latents import Latents

__all__ = ["TrainedFactorization", "descend"]

PREFIX = "network."
CLIP = 1.0
LOOKED_AFTER = 50  # steps, so that a GPU is not waited for at every one


class TrainedFactorization(Factorization):
    """Whitened or standardised frames u, and a network that has `states` of them.

    Given states, it has a `prior` of the innovation and its `belief`, the posterior beside it, and
    can `rebuild` u from both.

    Attributes:
        name: as users know it.
        whitening: to the coordinates of the network.
        network: on the CPU, once it is trained.
    """

    name: ClassVar[str]
    whitening: Whitening
    network: Any

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def coordinates(self, latents: Latents, train: Sequence[int]) -> Whitening:
        """The map to u, of the train utterances."""

    @abstractmethod
    def made(self, kept: int) -> nn.Module:
        """A new network for u of `kept` dimensions."""

    @abstractmethod
    def learn(self, utterances: Sequence[torch.Tensor], fitting: Fitting) -> None:
        """Train the network, which is on the device, on utterances u [T, K]."""

    @property
    def dim(self) -> int:
        """The option `dim`."""
        return int(self.options.dim)

    def fit(self, latents: Latents, train: Sequence[int], fitting: Fitting) -> None:
        """Train on train.

        Raises:
            UsageError: no train utterance is longer than a frame, or none varies.
            LatentbenchError: training diverged.
        """
        self.whitening = self.coordinates(latents, train)
        self.whitening.require_directions()
        utterances = [
            self.whitening.whiten(one) for one in map(latents.utterance, train) if len(one) > 1
        ]
        if not utterances:
            raise UsageError(
                f"{self.name} has no train utterance of two frames.", "Use longer ones."
            )
        with torch.random.fork_rng():
            torch.manual_seed(self.options.seed)
            self.network = self.made(self.whitening.kept).to(fitting.device)
            self.learn(utterances, fitting)
            self.network = self.network.cpu()

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The states."""
        with torch.inference_mode():
            found: torch.Tensor = self.network.states(self.whitening.whiten(frames)[None])[0]
            return found.clone()

    def decode(self, states: torch.Tensor) -> torch.Tensor:
        """What the decoder makes of the states and the mean of their prior."""
        with torch.inference_mode():
            mean = self.network.prior(states).mean
            return self.whitening.colour(self.network.rebuild(states, mean))

    def drawn(self, coordinates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rebuilt u [T, K] by one draw of the innovation, the same for the same u; its KL [T]."""
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(self.options.seed)
            states = self.network.states(coordinates[None])[0]
            posterior, prior = self.network.belief(states, coordinates)
            rebuilt = self.network.rebuild(states, posterior.rsample())
            return rebuilt, kl_divergence(posterior, prior).sum(-1)

    def state(self) -> Mapping[str, torch.Tensor]:
        """The whitening and the weights."""
        weights = {f"{PREFIX}{name}": one for name, one in self.network.state_dict().items()}
        return {**self.whitening.state(), **weights}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""
        self.whitening = Whitening.restored(state)
        self.network = self.made(self.whitening.kept)
        weights = {name: one for name, one in state.items() if name.startswith(PREFIX)}
        self.network.load_state_dict({name[len(PREFIX) :]: one for name, one in weights.items()})


def descend(
    loss: Callable[[int], torch.Tensor],
    optimiser: torch.optim.Optimizer,
    steps: int,
    fitting: Fitting,
    *,
    name: str,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Minimise a loss by gradients clipped to a global norm of 1.

    Args:
        loss: of a step, a scalar.
        optimiser: of the parameters.
        steps: how many.
        fitting: told the steps.
        name: of the factorisation.
        after: called after every step.

    Raises:
        LatentbenchError: it diverged.
    """
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    with fitting.progress.task(f"fitting {name}", steps, STEPS) as meter:
        for step in range(steps):
            optimiser.zero_grad()
            loss(step).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimiser.step()
            after()
            meter.advance(1)
            if step == steps - 1 or not (step + 1) % LOOKED_AFTER:
                _require_finite(parameters, step + 1, name)


def _require_finite(parameters: Sequence[torch.Tensor], step: int, name: str) -> None:
    if not all(bool(one.isfinite().all()) for one in parameters):
        raise LatentbenchError(
            f"Fitting {name} diverged: after {step} steps its weights are not finite.",
            "Try a smaller factorization.learning_rate, and look for latents that are not finite.",
        )
