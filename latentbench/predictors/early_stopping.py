"""Validation while a predictor trains: the best weights, and when to stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentbench.device import seeded
from latentbench.errors import LatentbenchError
from latentbench.tasks.turns import in_turn

if TYPE_CHECKING:
    from latentbench.predictors.predictor import Predictor
    from latentbench.predictors.training import Training

__all__ = ["Validation"]

BATCH_FRAMES = 2_048
# A loss that draws is given the same draws at every evaluation.
SEED = 43


class Validation:
    """The loss of a predictor on frames it is not trained on.

    With `select=best` the weights of the least loss are kept, and training is to stop after
    `patience` evaluations in which it did not fall by `min_gain`: nats of an NLL, per cent of
    any other loss, whose units are its own.

    Args:
        predictor: that is trained.
        training: its config, and its validation frames; with none, nothing is ever due.

    Raises:
        LatentbenchError: there is a validation side, and no frame of it has a whole context.
    """

    def __init__(self, predictor: Predictor, training: Training) -> None:
        self.predictor = predictor
        self.config = training.config
        self.device = training.device
        self.frames = training.validation
        self._best = math.inf
        self._weights: dict[str, torch.Tensor] = {}
        self._reference = math.inf
        self._without_gain = 0
        if self.frames is None:
            return
        if not len(self.frames):
            raise LatentbenchError(
                f"No validation frame has a whole context at horizon {self.frames.horizon}.",
                "Use more or longer utterances, or a smaller horizon.",
            )
        self.frames = self.frames.where(in_turn(self.frames, self.config.validation_frames))
        self._units = predictor.units(self.frames, BATCH_FRAMES)

    @property
    def patience_is_over(self) -> bool:
        """Whether so many evaluations brought no gain."""
        return self._without_gain >= self.config.patience

    @property
    def converged(self) -> bool:
        """Whether no more is to be gained, from a loss that is a number."""
        return self.patience_is_over and math.isfinite(self._best)

    @property
    def ends_training(self) -> bool:
        """Whether the training is to stop here."""
        return self.config.select == "best" and self.patience_is_over

    def due(self, step: int) -> bool:
        """Whether to evaluate after this step."""
        last = step == self.config.steps
        return self.frames is not None and (last or not step % self.config.evaluate_every)

    def evaluate(self) -> float:
        """The mean loss; the weights are kept where it is the least so far."""
        loss = self._loss()
        if loss < self._best and self.config.select == "best":
            state = self.predictor.state_dict()
            self._weights = {name: one.detach().clone() for name, one in state.items()}
        self._best = min(self._best, loss)
        if self._reference - loss > self._least_gain():
            self._reference, self._without_gain = loss, 0
        else:
            self._without_gain += 1
        return loss

    def _least_gain(self) -> float:
        """What counts as a gain: nats of an NLL, a hundredth of them a part of any other loss."""
        if self.predictor.loss_name == "NLL" or math.isinf(self._reference):
            return self.config.min_gain
        return abs(self._reference) * self.config.min_gain / 100.0

    def bring_back_the_best(self) -> None:
        """Give the predictor the weights that were kept."""
        if self._weights:
            self.predictor.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {
            "best": self._best,
            "weights": self._weights,
            "reference": self._reference,
            "without_gain": self._without_gain,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best, self._reference = state["best"], state["reference"]
        self._without_gain = state["without_gain"]
        self._weights = {name: one.to(self.device) for name, one in state["weights"].items()}

    @torch.no_grad()
    def _loss(self) -> float:
        """The mean over frames, in float64 and float32 arithmetic whatever training takes."""
        assert self.frames is not None  # noqa: S101 - `due` says so
        self.predictor.eval()
        size = max(1, round(BATCH_FRAMES * len(self._units) / len(self.frames)))
        total, count = 0.0, 0
        with seeded(SEED, self.device):
            for start in range(0, len(self._units), size):
                batch = self._units.batch(np.arange(start, min(start + size, len(self._units))))
                target = batch.target.to(self.device)
                # Stretches hold nan where no frame is predicted.
                frames = int((~target[..., 0].isnan()).sum())
                total += float(self.predictor.loss(batch.context.to(self.device), target)) * frames
                count += frames
        self.predictor.train()
        loss = total / count
        return loss if math.isfinite(loss) else math.inf
