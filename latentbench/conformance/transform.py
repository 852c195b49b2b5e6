"""The checks of transforms; the contract is `latentbench.latents.transform.Transform`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from latentbench.conformance.check import Kit, require
from latentbench.conformance.closeness import SAME, require_same, require_tensor
from latentbench.conformance.small_world import TRAIN, FittedSubject, train_only
from latentbench.latents import Latents
from latentbench.latents.transform import Transform

__all__ = ["KIT"]


class TransformSubject(FittedSubject):
    """A transform, fitted on two of four utterances."""

    contract = Transform
    dim = 6
    fitted: Transform

    def fit(self, latents: Latents) -> Transform:
        """A new instance, fitted on the train utterances."""
        transform: Transform = self.make()
        transform.fit(latents, TRAIN)
        return transform

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
