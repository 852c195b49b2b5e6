"""The predictor contract: `fit`, then `predictor(context) -> Distribution`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.predictors.training import Training
    from latentbench.specs import Density
    from latentbench.tasks import Batch, TaskFrames

__all__ = ["Predictor", "Units"]


class Units(Protocol):
    """What training draws batches of: single frames, or pieces of utterances."""

    def __len__(self) -> int:
        """How many there are."""

    def batch(self, which: NDArray[np.int64]) -> Batch:
        """Contexts and targets of the units numbered `which`, on the CPU."""


class Predictor(nn.Module, ABC):
    """A density of the target given a context; made by `factory(options, context_frames=, dim=)`.

    A baseline is a predictor that ignores its context. All that `fit` learns is in parameters
    or buffers, so `state_dict` saves it and `load_state_dict` brings it back.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.

    Attributes:
        options: as given.
        context_frames: W.
        dim: D.
        density: what its distributions give, as its spec declares: `exact` log-densities, an
            upper `bound` of the NLL, or `samples` and no density.
        loss_name: what its `loss` is called while it trains.
    """

    density: Density = "exact"
    loss_name: str = "NLL"

    def __init__(self, options: Any = None, *, context_frames: int, dim: int) -> None:
        super().__init__()
        self.options = options
        self.context_frames = context_frames
        self.dim = dim

    @abstractmethod
    def fit(self, train: TaskFrames, training: Training) -> None:
        """Learn from the training frames; continues from `training.checkpoint` if there is one.

        Raises:
            LatentbenchError: the frames do not suffice, or training diverged.
        """

    @abstractmethod
    def forward(self, context: torch.Tensor) -> Distribution:
        """The density of the target.

        Args:
            context: float32 [B, W, D], oldest frame first.

        Returns:
            A distribution of batch shape [B] and event shape [D] with `log_prob`, `mean` and
            `sample`; log-densities in nats per frame. Where `density` is `samples`, `log_prob`
            raises a LatentbenchError.
        """

    def extra_repr(self) -> str:
        """What the layers do not show; part of what a checkpoint must match."""
        return "" if self.options is None else str(self.options)

    def facts(self, frames: TaskFrames) -> dict[str, float]:  # noqa: ARG002 - of those that have some
        """What it tells of itself once it is fitted, by name, kept and shown with the run.

        Args:
            frames: of eval.
        """
        return {}

    def loss(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What training by gradient descent minimises on a batch: the mean NLL.

        Args:
            context: float32 [B, W, D].
            target: float32 [B, D].

        Returns:
            A scalar.
        """
        density: Distribution = self(context)
        return -density.log_prob(target).mean()

    def units(self, frames: TaskFrames, batch_size: int) -> Units:  # noqa: ARG002 - of those that train on more than single frames
        """What training draws its batches from; `loss` is given what they hold.

        Args:
            frames: of training.
            batch_size: frames predicted in a batch, about.
        """
        return frames

    def densities(
        self,
        frames: TaskFrames,  # noqa: ARG002 - of those that read more than a window
        which: NDArray[np.int64],  # noqa: ARG002 - as above
        context: torch.Tensor,
    ) -> Distribution:
        """The densities of the targets of the frames numbered `which`, batch [B].

        Args:
            frames: of either split.
            which: of them, int64 [B].
            context: their windows, float32 [B, W, D], on the device of the predictor.
        """
        density: Distribution = self(context)
        return density
