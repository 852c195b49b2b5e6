"""A small world of latents for checks: AR(1) frames of a few utterances, held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.distributions import Distribution, Independent, Normal

from latentbench.config import TrainingConfig
from latentbench.latents import Latents, StoredUtterance
from latentbench.predictors import Training
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.gaussian import ar1

if TYPE_CHECKING:
    from latentbench.tasks import TaskFrames

__all__ = ["CONTEXT_FRAMES", "SEED", "SmallWorld", "small_world", "training", "true_density"]

CONTEXT_FRAMES = 4
SEED = 7
UTTERANCES = 4
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


def training(seed: int = SEED) -> Training:
    """A few steps on the CPU, without a checkpoint, reported to nobody."""
    config = TrainingConfig(steps=STEPS, batch_size=BATCH, sampling="uniform")
    return Training(config, seed, torch.device("cpu"), None, SILENT)
