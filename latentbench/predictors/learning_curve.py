"""What a training was like: its losses on train and validation, and whether it converged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from latentbench.records import Number, Record

__all__ = ["Convergence", "LearningCurve", "Loss"]


class Loss(NamedTuple):
    """A loss after so many steps; `train` is a mean over the last steps."""

    step: int
    split: Literal["train", "validation"]
    loss: float


class Convergence(Record):
    """How a training by gradient descent ended.

    Attributes:
        steps: that were taken.
        best_step: of the least validation loss; the last step where there is no validation.
        best_loss: that loss; NaN without validation.
        last_loss: the validation loss after the last step; NaN without validation.
        train_loss: mean of the last train losses before `best_step`.
        evaluations: on the validation side.
        converged: whether `patience` evaluations had passed without a gain when it ended; None
            where there was no validation to tell.
    """

    steps: int
    best_step: int
    best_loss: Number = math.nan
    last_loss: Number = math.nan
    train_loss: Number = math.nan
    evaluations: int = 0
    converged: bool | None = None


@dataclass
class LearningCurve:
    """The losses of one training, filled in as it goes on.

    Attributes:
        points: in the order they were taken.
        convergence: how it ended; None before, and for what has a closed form.
    """

    points: list[Loss] = field(default_factory=list)
    convergence: Convergence | None = None

    def add(self, step: int, split: Literal["train", "validation"], loss: float) -> None:
        """Note a loss."""
        self.points.append(Loss(step, split, loss))

    def of(self, split: Literal["train", "validation"]) -> list[Loss]:
        """The losses of one split."""
        return [one for one in self.points if one.split == split]

    def end(self, *, steps: int, converged: bool) -> None:
        """Sum up a training that ended after so many steps."""
        validation = self.of("validation")
        best = min(validation, key=lambda one: one.loss, default=Loss(steps, "train", math.nan))
        before = [one.loss for one in self.of("train") if one.step <= best.step]
        self.convergence = Convergence(
            steps=steps,
            best_step=best.step,
            best_loss=best.loss,
            last_loss=validation[-1].loss if validation else math.nan,
            train_loss=before[-1] if before else math.nan,
            evaluations=len(validation),
            converged=converged if validation else None,
        )
