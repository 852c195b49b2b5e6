"""The latents as they are, by the contract of factorisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.factorizations.factorization import Account, Factorization

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.factorizations.factorization import Fitting
    from latentbench.latents import Latents
    from latentbench.specs import NoOptions

__all__ = ["Unfactored"]


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
