"""A small world of latents for checks: AR(1) frames of a few utterances, held in memory.

What is fitted on them, by the train utterances, transforms and factorisations share.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.distributions import Distribution, Independent, Normal

from latentbench.config import TrainingConfig
from latentbench.conformance.check import Subject, require
from latentbench.latents import Latents, StoredUtterance
from latentbench.predictors import Training
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.gaussian import ar1

if TYPE_CHECKING:
    from latentbench.tasks import TaskFrames

__all__ = [
    "CONTEXT_FRAMES",
    "EVAL",
    "SEED",
    "TRAIN",
    "FittedSubject",
    "SmallWorld",
    "require_same_state",
    "small_world",
    "train_only",
    "training",
    "true_density",
]

CONTEXT_FRAMES = 4
SEED = 7
UTTERANCES = 4
TRAIN, EVAL = (0, 2), (1, 3)
FRAMES = 80
PERSISTENCE = 0.64
STEPS = 25
BATCH = 64
FRAME_RATE = 12.5


@dataclass(frozen=True)
class SmallWorld:
    """Latents beside the memory they are read from.

    Attributes:
        rows: float32 [320, D]; writing here changes what `latents` gather from now on.
        latents: four utterances of 80 frames.
    """

    rows: torch.Tensor
    latents: Latents

    def frames(self) -> TaskFrames:
        """Every frame of horizon 1."""
        return self.frames_of(range(UTTERANCES))

    def frames_of(self, utterances: range) -> TaskFrames:
        """The frames of horizon 1 of some utterances."""
        task = WindowTask(context_frames=CONTEXT_FRAMES, horizon=1)
        return task.frames(self.latents, utterances)

    def rows_of(self, utterance: int) -> torch.Tensor:
        """The rows of one utterance, [80, D], a view."""
        return self.rows[utterance * FRAMES : (utterance + 1) * FRAMES]


def true_density(context: torch.Tensor) -> Distribution:
    """The density of Δ_t in the small world given a context [B, W, D] that ends at t - 1.

    x_t given the past is Gaussian around 0.64 x_{t-1}, of variance 1 - 0.64² a dimension.
    """
    last = context[:, -1].double()
    found: Distribution = Independent(
        Normal((PERSISTENCE - 1) * last, (1 - PERSISTENCE**2) ** 0.5), 1
    )
    return found


def small_world(dim: int, seed: int = 0) -> SmallWorld:
    """x_t = 0.64 x_{t-1} + noise, stationary, of variance 1 a dimension; the same for a seed."""
    drawn = ar1(dim, PERSISTENCE).sample(UTTERANCES, FRAMES, np.random.default_rng(seed))
    rows = torch.from_numpy(drawn.reshape(-1, dim).astype(np.float32))
    utterances = [
        StoredUtterance(f"u{number}", f"s{number}", number * FRAMES, FRAMES)
        for number in range(UTTERANCES)
    ]
    energy = np.linspace(0.1, 0.2, len(rows), dtype=np.float32)
    return SmallWorld(rows, Latents([rows], energy, utterances, FRAME_RATE))


def training() -> Training:
    """A few steps on the CPU, without a checkpoint, reported to nobody."""
    config = TrainingConfig(steps=STEPS, batch_size=BATCH, sampling="uniform")
    return Training(config, SEED, torch.device("cpu"), None, SILENT)


class FittedSubject(Subject):
    """A component, fitted on two of four utterances."""

    dim: ClassVar[int]

    @abstractmethod
    def fit(self, latents: Latents) -> Any:
        """A new instance, fitted on the train utterances."""

    @property
    def world(self) -> SmallWorld:
        """A new one: four utterances of `dim` dimensions that are not centred."""
        world = small_world(self.dim)
        world.rows.mul_(torch.arange(1.0, self.dim + 1)).add_(3.0)
        return world

    @cached_property
    def latents(self) -> Latents:
        """Of a world of which nobody changes the rows."""
        return self.world.latents

    @cached_property
    def fitted(self) -> Any:
        """The instance that most checks look at."""
        return self.fit(self.latents)


def train_only(subject: FittedSubject) -> None:
    """What is learned does not depend on utterances that are not train."""
    world = subject.world
    for index in EVAL:
        world.rows_of(index).mul_(-5.0).add_(40.0)
    require_same_state(subject.fitted, subject.fit(world.latents), "with other eval latents")


def require_same_state(one: Any, other: Any, what: str) -> None:
    """Hold two fitted instances to one state, bit by bit.

    Raises:
        NonconformityError: they have others.
    """
    mine, its = one.state(), other.state()
    wanted = f"the state {what} to hold"
    require(sorted(mine) == sorted(its), f"{wanted} {sorted(mine)}", f"{sorted(its)}")
    for name, tensor in mine.items():
        require(torch.equal(tensor, its[name]), f"{wanted} '{name}' as it was", "other values")
