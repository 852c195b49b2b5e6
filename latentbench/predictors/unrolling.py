r"""Training on the model's own frames: K steps rolled out, true frames given back by chance.

A batch holds stretches of K targets. Frame by frame the model predicts from its own past, moves by
the mean of its density (or a sample), and the move is added to the state as in a rollout. With L
the predictor's loss, ĉ its own contexts and c the true ones,

.. math:: w_r \overline{L(\hat c_t)} + w_t \overline{L(c_t)} + w_s \overline{\|\hat x_t - x_t\|^2}

over the K steps, the last in units of the variance of each dimension. A true frame takes the
place of the model's own with a probability that falls to 0 (scheduled sampling, Bengio et al.
2015). Gradients pass through moves by the mean, and through none by samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import LatentbenchError
from latentbench.tasks import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.config import UnrollingConfig
    from latentbench.predictors.predictor import Predictor
    from latentbench.tasks import TaskFrames

__all__ = ["Unrolled", "Unrolling", "with_noise"]

LEAST_SCALE = 1e-6


class Unrolled:
    """Stretches of K predicted frames that follow one another, with all that is before them.

    Args:
        frames: of training.
        count: K.

    Raises:
        LatentbenchError: no utterance has K of them in a row.
    """

    def __init__(self, frames: TaskFrames, count: int) -> None:
        self.frames = frames
        last = np.arange(len(frames) - count + 1) + count - 1
        first = last - count + 1
        same = frames.utterance[first] == frames.utterance[last]
        self.first = first[same & (frames.rows[last] - frames.rows[first] == count - 1)]
        if not len(self.first):
            raise LatentbenchError(
                f"No utterance has training.rollout.steps={count} frames in a row to predict at "
                f"horizon {frames.horizon}.",
                "Use longer utterances, or a smaller training.rollout.steps.",
            )
        before = max(frames.context_frames - 1 + frames.horizon, frames.step)
        self._rows = np.arange(-before, count)
        self._steps = np.arange(count)

    def __len__(self) -> int:
        return len(self.first)

    def batch(self, which: NDArray[np.int64]) -> Batch:
        """Frames [B, P + K, D], P of them before the first target, and targets [B, K, D]."""
        number = self.first[which]
        rows = self.frames.rows[number][:, None] + self._rows
        targets = self.frames.targets((number[:, None] + self._steps).ravel())
        shape = (len(which), len(self._steps), self.frames.dim)
        return Batch(self.frames.latents.gather(rows), targets.reshape(shape))


@dataclass(frozen=True)
class Unrolling:
    """The loss of a batch of `Unrolled`.

    Attributes:
        config: how.
        frames: of training; their window, staleness, target and step are read.
    """

    config: UnrollingConfig
    frames: TaskFrames

    @property
    def adds_up(self) -> bool:
        """Whether what is predicted is a change."""
        return self.frames.target == "delta"

    def loss(self, predictor: Predictor, batch: Batch, step: int) -> torch.Tensor:
        """A scalar; of frames under true contexts alone before step `start`.

        Args:
            predictor: that is trained.
            batch: of `Unrolled`.
            step: of the training, from 1.
        """
        config, target = self.config, batch.target
        count = target.shape[1]
        true = list(batch.context.unbind(1))
        taught = self._taught(predictor, true, target)
        if step <= config.start:
            return taught
        own, scale = true[: len(true) - count], _scale(batch.context)
        rolled, away = taught.new_zeros(()), taught.new_zeros(())
        for one in range(count):
            truth = true[len(own)]
            context = self._window(own, len(own))
            rolled = rolled + predictor.loss(context, target[:, one])
            made = self._made(predictor, own, context, target)
            away = away + ((made - truth) / scale).square().sum(-1).mean()
            own.append(torch.where(self._given_back(truth, step), truth, made))
        whole = config.weight * rolled / count + config.state_weight * away / count
        return whole + config.teacher_weight * taught

    def teacher_probability(self, step: int) -> float:
        """Of a true frame in place of the model's own, at a step of the training."""
        done = (step - self.config.start) / self.config.teacher_steps
        return self.config.teacher_probability * max(0.0, 1.0 - done)

    def _given_back(self, truth: torch.Tensor, step: int) -> torch.Tensor:
        chance = torch.rand(len(truth), 1, device=truth.device)
        return chance < self.teacher_probability(step)

    def _window(self, frames: list[torch.Tensor], t: int) -> torch.Tensor:
        """The context [B, W, D] of frame t."""
        end = t - self.frames.horizon + 1
        window = torch.stack(frames[end - self.frames.context_frames : end], 1)
        return with_noise(window, self.config.noise) if self.config.noise else window

    def _taught(
        self, predictor: Predictor, true: list[torch.Tensor], target: torch.Tensor
    ) -> torch.Tensor:
        """The loss under true contexts, all steps at once."""
        count = target.shape[1]
        contexts = [self._window(true, t) for t in range(len(true) - count, len(true))]
        return predictor.loss(torch.stack(contexts, 1).flatten(0, 1), target.flatten(0, 1))

    def _made(
        self,
        predictor: Predictor,
        own: list[torch.Tensor],
        context: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """The next frame by the model, its move kept within `clip` deviations of true ones."""
        density = predictor(context)
        move = density.mean if self.config.mode == "mean" else density.sample()
        flat = target.flatten(0, 1)
        bound = self.config.clip * _scale(target)
        moved = flat.mean(0) + (move.float() - flat.mean(0)).clamp(-bound, bound)
        made: torch.Tensor = own[-self.frames.step] + moved if self.adds_up else moved
        return made


def with_noise(context: torch.Tensor, deviation: float) -> torch.Tensor:
    """Contexts [B, T, D] with noise of so many standard deviations of each dimension."""
    return context + deviation * _scale(context) * torch.randn_like(context)


def _scale(frames: torch.Tensor) -> torch.Tensor:
    """The standard deviation of each dimension of frames [B, T, D], [D]; next to 0 of a single one.

    A single one is what an epoch's last batch may hold.
    """
    rows = frames.flatten(0, 1)
    return rows.std(0, correction=min(1, len(rows) - 1)).clamp_min(LEAST_SCALE)
