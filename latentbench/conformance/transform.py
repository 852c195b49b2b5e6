"""The checks of transforms; the contract is `latentbench.latents.transform.Transform`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch

from latentbench.conformance.check import Kit, Subject, require
from latentbench.conformance.closeness import SAME, require_same, require_tensor
from latentbench.conformance.small_world import SmallWorld, small_world
from latentbench.latents import Latents
from latentbench.latents.transform import Transform

__all__ = ["KIT"]

DIM = 6
TRAIN = (0, 2)
EVAL = (1, 3)


class TransformSubject(Subject):
    """A transform, fitted on two of four utterances."""

    contract = Transform

    def fit(self, latents: Latents) -> Transform:
        """A new instance, fitted on the train utterances."""
        transform: Transform = self.make()
        transform.fit(latents, TRAIN)
        return transform

    @property
    def world(self) -> SmallWorld:
        """A new one: four utterances of six dimensions that are not centred."""
        world = small_world(DIM)
        world.rows.mul_(torch.arange(1.0, DIM + 1)).add_(3.0)
        return world

    @cached_property
    def latents(self) -> Latents:
        """Of a world of which nobody changes the rows."""
        return self.world.latents

    @cached_property
    def fitted(self) -> Transform:
        """The instance that most checks look at."""
        return self.fit(self.latents)

    def rows(self, transform: Transform | None = None) -> torch.Tensor:
        """All rows of the transformed latents."""
        return _rows((transform or self.fitted).apply(self.latents))


def applies(subject: TransformSubject) -> str:
    """Transformed latents have the same rows, float32 and finite; the given ones stay."""
    given = subject.latents
    before = _rows(given).clone()
    found = subject.fitted.apply(given)
    require(isinstance(found, Latents), "Latents", type(found).__name__)
    rows = _rows(found)
    require(torch.equal(_rows(given), before), "the given latents as they were", "other values")
    require(found.utterances == given.utterances, "the same utterances", f"{len(found.utterances)}")
    energy = len(found.energy) == len(given.energy) and found.frame_rate == given.frame_rate
    require(energy, "energy of every row and the same frame rate", "others")
    require(rows.dtype == torch.float32, "rows of dtype float32", f"{rows.dtype}")
    require(found.dim > 0, "dim of at least 1", f"{found.dim}")
    require_tensor(rows, "rows", [len(before), found.dim])
    return f"{given.dim} to {found.dim} dimensions"


def row_by_row(subject: TransformSubject) -> None:
    """A row is the same alone, with others, or as part of its utterance."""
    found, rows = subject.fitted.apply(subject.latents), subject.rows()
    some = np.array([[7, 3], [200, 7]], dtype=np.int64)
    few = rows[torch.from_numpy(some)]
    require_same(few, found.gather(some), SAME, "rows gathered a few at a time")
    stored = found.utterances[1]
    part = rows[stored.start : stored.start + stored.frames]
    require_same(part, found.utterance(1), SAME, "utterance(1) as its rows")


def train_only(subject: TransformSubject) -> None:
    """What is learned does not depend on utterances that are not train."""
    world = subject.world
    for index in EVAL:
        world.rows_of(index).mul_(-5.0).add_(40.0)
    mine, its = subject.fitted.state(), subject.fit(world.latents).state()
    names = "the state with other eval latents to hold"
    require(sorted(mine) == sorted(its), f"{names} {sorted(mine)}", f"{sorted(its)}")
    for name, tensor in mine.items():
        require(torch.equal(tensor, its[name]), f"{names} '{name}' as it was", "other values")


def deterministic(subject: TransformSubject) -> str:
    """Another instance fitted on the same latents gives the same rows."""
    again = subject.rows(subject.fit(subject.latents))
    what = "the rows of the first instance from a second"
    return require_same(subject.rows(), again, SAME, what)


def restores(subject: TransformSubject) -> str:
    """A new instance that restores the state, text to tensor, gives the same rows."""
    state = subject.fitted.state()
    pairs = state.items() if isinstance(state, Mapping) else [(state, state)]
    sound = all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in pairs)
    require(sound, "a state of text to tensor", repr(state)[:80])
    other = subject.make()
    other.restore({name: tensor.clone() for name, tensor in pairs})
    what = "the rows of the fitted instance from the restored one"
    require_same(subject.rows(), subject.rows(other), SAME, what)
    return ", ".join(state)


KIT = Kit(
    TransformSubject,
    gates=(applies,),
    checks=(row_by_row, train_only, deterministic, restores),
)


def _rows(latents: Latents) -> torch.Tensor:
    frames = sum(stored.frames for stored in latents.utterances)
    return latents.gather(np.arange(frames, dtype=np.int64))
