"""The conformance kit of transforms; the contract is `latentbench.latents.transform.Transform`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.conformance.check import Check, Kit, Subject, require
from latentbench.conformance.world import SmallWorld, small_world
from latentbench.latents import Latents
from latentbench.latents.transform import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.conformance.check import Verdict

__all__ = ["KIT"]

DIM = 6
TRAIN = (0, 2)
EVAL = (1, 3)
SAME = 1e-6


class TransformSubject(Subject):
    """A transform, fitted on two of four utterances."""

    def make(self) -> Transform:
        """A new instance, not fitted."""
        transform: Transform = self.component.create(self.options)
        return transform

    def fit(self, latents: Latents) -> Transform:
        """A new instance, fitted on the train utterances."""
        transform = self.make()
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


def creates(subject: TransformSubject) -> Verdict:
    """The factory gives a Transform."""
    transform = subject.make()
    require(
        isinstance(transform, Transform),
        f"{subject.component.spec.factory} to give a latentbench.latents.transform.Transform",
        type(transform).__name__,
    )
    return None


def applies(subject: TransformSubject) -> Verdict:
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
    require(
        tuple(rows.shape) == (len(before), found.dim) and found.dim > 0,
        f"rows of shape [{len(before)}, dim = {found.dim}]",
        f"{list(rows.shape)}",
    )
    bad = int((~rows.isfinite()).sum())
    require(not bad, "finite rows", f"{bad} of {rows.numel()} values not finite")
    return f"{given.dim} to {found.dim} dimensions"


def row_by_row(subject: TransformSubject) -> Verdict:
    """A row is the same alone, with others, or as part of its utterance."""
    found = subject.fitted.apply(subject.latents)
    rows = _rows(found)
    some = np.array([[7, 3], [200, 7]], dtype=np.int64)
    _require_same(rows[torch.from_numpy(some)], found.gather(some), "rows gathered a few at a time")
    stored = found.utterances[1]
    _require_same(
        rows[stored.start : stored.start + stored.frames],
        found.utterance(1),
        "utterance(1) as its rows",
    )
    return None


def train_only(subject: TransformSubject) -> Verdict:
    """What is learned does not depend on utterances that are not train."""
    world = subject.world
    for index in EVAL:
        world.rows_of(index).mul_(-5.0).add_(40.0)
    refitted = subject.fit(world.latents)
    _require_same_state(subject.fitted, refitted, "the state with other eval latents")
    return None


def deterministic(subject: TransformSubject) -> Verdict:
    """Another instance fitted on the same latents gives the same rows."""
    again = subject.fit(subject.latents)
    _require_same(
        _rows(subject.fitted.apply(subject.latents)),
        _rows(again.apply(subject.latents)),
        "the rows of the first instance from a second",
    )
    return None


def restores(subject: TransformSubject) -> Verdict:
    """A new instance that restores the state, text to tensor, gives the same rows."""
    state = subject.fitted.state()
    require(
        isinstance(state, Mapping)
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()),
        "a state of text to tensor",
        repr(state)[:80],
    )
    other = subject.make()
    other.restore({name: tensor.clone() for name, tensor in state.items()})
    _require_same(
        _rows(subject.fitted.apply(subject.latents)),
        _rows(other.apply(subject.latents)),
        "the rows of the fitted instance from the restored one",
    )
    return ", ".join(state)


KIT: Kit[TransformSubject] = Kit(
    "transform",
    TransformSubject,
    (
        Check(creates, gate=True),
        Check(applies, gate=True),
        Check(row_by_row),
        Check(train_only),
        Check(deterministic),
        Check(restores),
    ),
)


def _rows(latents: Latents) -> torch.Tensor:
    return latents.gather(_numbers(latents))


def _numbers(latents: Latents) -> NDArray[np.int64]:
    return np.arange(sum(stored.frames for stored in latents.utterances), dtype=np.int64)


def _require_same(expected: torch.Tensor, came: torch.Tensor, what: str) -> None:
    require(
        expected.shape == came.shape,
        f"{what}: shape {list(expected.shape)}",
        f"{list(came.shape)}",
    )
    largest = float(expected.abs().max()) or 1.0
    worst = float((expected.double() - came.double()).abs().max()) / largest
    require(worst <= SAME, f"{what}, to {SAME:.0e}", f"a difference of {worst:.1e}")


def _require_same_state(one: Transform, other: Transform, what: str) -> None:
    mine, its = one.state(), other.state()
    require(sorted(mine) == sorted(its), f"{what}: {sorted(mine)}", f"{sorted(its)}")
    for name, tensor in mine.items():
        same = tensor.shape == its[name].shape and torch.equal(tensor, its[name])
        require(same, f"{what}: '{name}' as it was", "other values")
