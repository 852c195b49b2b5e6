"""The contract of factorisations: latents x to a predictable state z_dyn, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from latentbench.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.latents import Latents
    from latentbench.progress import Progress
    from latentbench.specs import NoOptions

__all__ = ["Account", "Factorization", "Fitting", "Unfactored"]


@dataclass(frozen=True)
class Fitting:
    """What a factorisation that trains by gradient descent needs beside the latents.

    Attributes:
        device: where it trains; what it learned is kept on the CPU.
        progress: told its steps.
    """

    device: torch.device
    progress: Progress = SILENT


@dataclass(frozen=True)
class Account:
    """What the frames of one stretch cost beyond z_dyn, and what is rebuilt with all of it.

    Attributes:
        innovation: nats of each frame given z_dyn up to it, [T]: added to the NLL of z_dyn
            given its past, it is the length of a code for the frame, in the coordinates of lb1;
            None where the two are no code.
        rebuilt: the frames from z_dyn and the innovation z_rec, [T, D].
        kl: nats of each frame that z_rec carries, [T]; None where it is told exactly.
    """

    innovation: torch.Tensor | None
    rebuilt: torch.Tensor
    kl: torch.Tensor | None = None


class Factorization(ABC):
    """x [T, D] to z_dyn [T, d]; made by `factory(options)`, then fitted or given its state.

    Attributes:
        past_only: z_dyn of a frame is a function of the frames before it, so that it costs no
            nats once these are known.
    """

    past_only: ClassVar[bool] = False

    @property
    @abstractmethod
    def dim(self) -> int:
        """d, once it is fitted or restored."""

    @abstractmethod
    def fit(self, latents: Latents, train: Sequence[int], fitting: Fitting) -> None:
        """Learn from the train utterances (indices into `latents.utterances`) only.

        The same latents must give the same state.

        Raises:
            UsageError: the latents do not allow it, e.g. more dimensions than there are.
        """

    @abstractmethod
    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """z_dyn [T, d] of the frames of one stretch [T, D], float32.

        Causal: row t does not depend on the frames after t.
        """

    @abstractmethod
    def decode(self, states: torch.Tensor) -> torch.Tensor:
        """The frames [T, D] that z_dyn [T, d] alone says, float32; causal too."""

    @abstractmethod
    def state(self) -> Mapping[str, torch.Tensor]:
        """All that `fit` learned, as it is saved with the run."""

    @abstractmethod
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""

    def account(self, frames: torch.Tensor) -> Account | None:
        """What the frames of one stretch [T, D] cost beyond z_dyn; None where it is not known."""
        del frames
        return None


class Unfactored(Factorization):
    """z_dyn = x."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options
        self._dim = torch.tensor(0)

    @property
    def dim(self) -> int:
        """D."""
        return int(self._dim)

    def fit(self, latents: Latents, train: Sequence[int], fitting: Fitting) -> None:
        """Learn the number of dimensions."""
        del train, fitting
        self._dim = torch.tensor(latents.dim)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The frames."""
        return frames

    def decode(self, states: torch.Tensor) -> torch.Tensor:
        """The frames."""
        return states

    def state(self) -> Mapping[str, torch.Tensor]:
        """D."""
        return {"dim": self._dim}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take D."""
        self._dim = state["dim"]

    def account(self, frames: torch.Tensor) -> Account:
        """Nothing is left to tell."""
        return Account(frames.new_zeros(len(frames)), frames)
