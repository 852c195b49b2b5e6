"""The mixture density network fed contexts of other frames: a control without information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from latentbench.predictors.mixture import DiagonalGaussianMixture
    from latentbench.predictors.plugin import ShuffledContextOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["ShuffledContextNetwork"]

PLACES = 31  # bits of the hash


class ShuffledContextNetwork(MixtureDensityNetwork):
    """The same network, trained in the same way, with a training context chosen by chance.

    Contexts come from a reservoir of `reservoir` training frames drawn by the seed. In training
    every row gets a fresh one, which changes from step to step, so nothing can be memorised. In
    evaluation a row gets the one that a hash of its own true context selects: the same whatever
    the batch, order or split.

    What it measures: the network has all it has in `mdn`, inputs of the true distribution
    included, but what it is shown says nothing of the target. So no gain beyond `marginal-mdn`
    is possible, and what it loses against that is the price of ignoring an input. A gain
    beyond it means that targets leak on another way than through the context.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.
    """

    contexts: torch.Tensor

    def __init__(self, options: ShuffledContextOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.register_buffer("contexts", torch.zeros(options.reservoir, context_frames, dim))

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Draw the reservoir, then minimise the mean NLL of the training frames.

        Raises:
            LatentbenchError: there are no frames, or training diverged.
        """
        if len(train_frames):
            random = np.random.default_rng(training.seed)
            count = len(self.contexts)
            drawn = random.choice(len(train_frames), count, replace=count > len(train_frames))
            self.contexts.copy_(train_frames.batch(drawn).context)
        super().fit(train_frames, training)

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The mixture for another context in place of each of `context` [B, W, D]."""
        batch = context.shape[:-2]
        if self.training:
            chosen = torch.randint(len(self.contexts), batch, device=context.device)
        else:
            chosen = self.replacements(context)
        return super().forward(self.contexts[chosen])

    def replacements(self, context: torch.Tensor) -> torch.Tensor:
        """The place in the reservoir that each of `context` [B, W, D] is sent to, int64 [B]."""
        return hashed_rows(context.flatten(-2), PLACES) % len(self.contexts)
