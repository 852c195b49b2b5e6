"""The checks of factorisations; the contract is `latentbench.factorizations.Factorization`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import Kit, Skip, require
from latentbench.conformance.closeness import SAME, require_same, require_tensor
from latentbench.conformance.small_world import (
    EVAL,
    TRAIN,
    FittedSubject,
    require_same_state,
    train_only,
)
from latentbench.factorizations import Account, Factorization, Fitting

if TYPE_CHECKING:
    from latentbench.latents import Latents

__all__ = ["KIT"]

CUT = 40


class FactorizationSubject(FittedSubject):
    """A factorisation, fitted on two of four utterances."""

    contract = Factorization
    dim = 16  # room for the defaults of those built in
    fitted: Factorization

    def fit(self, latents: Latents) -> Factorization:
        """A new instance, fitted on the train utterances."""
        made: Factorization = self.make()
        made.fit(latents, TRAIN, Fitting(torch.device("cpu")))
        return made

    @cached_property
    def frames(self) -> torch.Tensor:
        """Those of an eval utterance, [80, 16]."""
        return self.world.rows_of(EVAL[0]).clone()


def encodes(subject: FactorizationSubject) -> str:
    """`encode` gives float32 `[T, dim]`, finite, and leaves what it is given as it is."""
    frames = subject.frames
    before = frames.clone()
    states = subject.fitted.encode(frames)
    require(torch.equal(frames, before), "the given frames as they were", "other values")
    require_tensor(states, "states", [len(frames), subject.fitted.dim])
    require(states.dtype == torch.float32, "states of dtype float32", f"{states.dtype}")
    return f"{subject.dim} to {subject.fitted.dim} dimensions"


def causal(subject: FactorizationSubject) -> str:
    """A state does not depend on the frames after it, nor on how many there are."""
    frames, changed = subject.frames, subject.frames.clone()
    changed[CUT:] = changed[CUT:].mul(-3.0).add(7.0)
    states = subject.fitted.encode(frames)[:CUT]
    others = subject.fitted.encode(changed)[:CUT]
    require_same(states, others, SAME, "the states before frames that were changed")
    short = subject.fitted.encode(frames[:CUT].clone())
    return require_same(states, short, SAME, "the states of the first frames alone")


def decodes(subject: FactorizationSubject) -> str:
    """`decode` gives float32 `[T, D]`, finite, and is causal too."""
    states = subject.fitted.encode(subject.frames)
    rebuilt = subject.fitted.decode(states)
    require_tensor(rebuilt, "rebuilt frames", list(subject.frames.shape))
    changed = states.clone()
    changed[CUT:] += 1.0
    what = "the frames before states that were changed"
    return require_same(rebuilt[:CUT], subject.fitted.decode(changed)[:CUT], SAME, what)


def learns_the_same(subject: FactorizationSubject) -> None:
    """Another instance fitted on the same latents has the same state."""
    require_same_state(subject.fitted, subject.fit(subject.latents), "of a second instance")


def restores_states(subject: FactorizationSubject) -> str:
    """A new instance that restores the state has the same `dim` and gives the same states."""
    state = subject.fitted.state()
    other: Factorization = subject.make()
    other.restore({name: tensor.clone() for name, tensor in state.items()})
    require(other.dim == subject.fitted.dim, f"dim {subject.fitted.dim}", f"{other.dim}")
    mine, its = (one.encode(subject.frames) for one in (subject.fitted, other))
    require_same(mine, its, SAME, "the states of the fitted instance from the restored one")
    return ", ".join(state)


def accounts(subject: FactorizationSubject) -> str:
    """`account`, where it is known, has a finite number of nats for every frame."""
    frames = subject.frames
    found = subject.fitted.account(frames)
    if found is None:
        return Skip("it gives no account of the innovation")
    require(isinstance(found, Account), "an Account", type(found).__name__)
    for name in ("innovation", "kl"):
        if (nats := getattr(found, name)) is not None:
            require_tensor(nats, name, [len(frames)])
    require_tensor(found.rebuilt, "rebuilt", list(frames.shape))
    told = found.kl if found.innovation is None else found.innovation
    return "" if told is None else f"{float(told.mean()):.2f} nats a frame"


KIT = Kit(
    FactorizationSubject,
    gates=(encodes,),
    checks=(causal, decodes, train_only, learns_the_same, restores_states, accounts),
)
