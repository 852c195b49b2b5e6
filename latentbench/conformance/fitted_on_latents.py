"""What transforms and factorisations share: they are fitted on latents, by the train utterances."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from latentbench.conformance.check import Subject, require
from latentbench.conformance.small_world import SmallWorld, small_world

if TYPE_CHECKING:
    from latentbench.latents import Latents

__all__ = ["EVAL", "TRAIN", "FittedSubject", "require_same_state", "train_only"]

TRAIN = (0, 2)
EVAL = (1, 3)


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
