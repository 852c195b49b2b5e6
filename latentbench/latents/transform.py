"""The transform contract: a map of latents fitted on train, applied when frames are gathered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from latentbench.latents.reader import Latents

__all__ = ["Transform"]


class Transform(ABC):
    """Latents to latents; made by `factory(options)`, then fitted or given its state.

    Nothing is written again: a transform is applied to the rows a batch gathers.
    """

    @abstractmethod
    def fit(self, latents: Latents, train: Sequence[int]) -> None:
        """Learn from the train utterances (indices into `latents.utterances`) only.

        Raises:
            UsageError: the latents do not allow it, e.g. more components than dimensions.
        """

    @abstractmethod
    def apply(self, latents: Latents) -> Latents:
        """The transformed latents of every utterance; rows keep their number and order."""

    @abstractmethod
    def state(self) -> Mapping[str, torch.Tensor]:
        """All that `fit` learned, as it is saved with the run."""

    @abstractmethod
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""
