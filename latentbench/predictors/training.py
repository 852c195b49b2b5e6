"""Training by gradient descent on the negative log-likelihood, resumable to the bit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.errors import LatentbenchError
from latentbench.predictors.checkpoint import Checkpoint, training_digest
from latentbench.predictors.recycling_linear import release_gradients
from latentbench.predictors.training_batches import prepared_batches, sampling
from latentbench.progress import STEPS
from latentbench.signals import deferred

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.config import TrainingConfig
    from latentbench.predictors.predictor import Predictor
    from latentbench.progress import Progress
    from latentbench.tasks import Batch, TaskFrames

__all__ = ["Descent", "Training", "train"]

CHECKPOINT_SECONDS = 30.0
LOSSES_KEPT = 50
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Training:
    """How, where and under whose eyes a predictor is trained.

    Attributes:
        config: steps, batch, learning rate and so on.
        seed: of the order of the frames, with k. The initial weights are the caller's: it calls
            `torch.manual_seed` before it makes the predictor.
        device: where it trains; the predictor is moved there.
        checkpoint: file of the state under way, which is continued from if it fits; None for
            none. It is still there after training: remove it once the predictor is saved.
        progress: to whom steps and loss are reported.
    """

    config: TrainingConfig
    seed: int
    device: torch.device
    checkpoint: Path | None
    progress: Progress


def train(predictor: Predictor, frames: TaskFrames, training: Training) -> None:
    """Minimise the mean of -log p(target | context) by AdamW at a constant rate.

    Gradients are clipped to `clip_norm` in their global norm. A checkpoint is written every
    30 s, at the end, and on Ctrl-C, SIGTERM and SIGHUP; a training continued from it ends in the
    same weights, to the bit, as one that was never disturbed.

    Raises:
        LatentbenchError: there are no frames, the loss became infinite or nan (names the
            step), or the checkpoint cannot be written.
    """
    if not len(frames):
        raise LatentbenchError(
            f"There are no training frames at horizon {frames.horizon}.",
            "Use more or longer utterances, or a smaller horizon.",
        )
    if training.config.precision == "bf16" and _emulates_bf16(training.device):
        training.progress.say(
            "This CPU has no bfloat16 arithmetic: training.precision=bf16 is many times slower "
            "than fp32 here."
        )
    predictor.to(training.device).train()
    descent = Descent(predictor, training)
    checkpoint = None
    done = 0
    if training.checkpoint is not None:
        digest = training_digest(predictor, frames, training.config, training.seed)
        checkpoint = Checkpoint(training.checkpoint, digest)
        done = checkpoint.restore(predictor, descent.optimizer, training.progress)
    if done < training.config.steps:
        _run(descent, frames, training, checkpoint, done)
    predictor.eval()


def _run(
    descent: Descent,
    frames: TaskFrames,
    training: Training,
    checkpoint: Checkpoint | None,
    done: int,
) -> None:
    """Take the steps from `done` on."""
    steps = training.config.steps
    # Without a context k shows in nothing but the frames: at all k one network, in one order.
    horizon = 0 if frames.blind else frames.horizon
    units = descent.predictor.units(frames, training.config.batch_size)
    config = _in_units(training.config, len(units) / len(frames))
    indices = sampling(config, len(units), training.seed, horizon)
    indices.skip(done)
    losses = _Losses(training)
    saved = time.monotonic()
    title = f"train k={frames.horizon}"
    with (
        prepared_batches(units, indices, training.device) as batches,
        training.progress.task(title, steps, STEPS, done=done) as meter,
        deferred() as interrupt,
    ):
        for step in range(done + 1, steps + 1):
            losses.add(step, descent.step(next(batches)))
            meter.advance()
            stop = step == steps or interrupt.is_set()
            due = checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS
            if losses.full or due or stop:
                meter.note(f"{descent.predictor.loss_name} {losses.mean():.4g}")
            if checkpoint is not None and (due or stop):
                checkpoint.save(descent.predictor, descent.optimizer, step)
                saved = time.monotonic()
            if interrupt.is_set():
                return


def _in_units(config: TrainingConfig, share: float) -> TrainingConfig:
    """The configuration for units that stand for 1 / share frames each."""
    sizes = {
        name: max(1, round(getattr(config, name) * share))
        for name in ("batch_size", "shuffle_buffer")
    }
    return config.model_copy(update=sizes)


class Descent:
    """One optimizer step at a time.

    Args:
        predictor: on the device of `training`.
        training: its config and device are used.
    """

    def __init__(self, predictor: Predictor, training: Training) -> None:
        config = training.config
        self.predictor = predictor
        self.clip_norm = config.clip_norm
        self.bf16 = config.precision == "bf16"
        self.device = training.device
        self.parameters = list(predictor.parameters())
        self.fused = training.device.type in {"cpu", "cuda"}
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=self.fused,
        )

    def step(self, batch: Batch) -> torch.Tensor:
        """The loss of the batch before the step, detached, on the device."""
        release_gradients(self.predictor)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.predictor.loss(batch.context, batch.target)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._clip()
        self.optimizer.step()
        return loss.detach()

    def _clip(self) -> None:
        """Clip the global norm as `clip_grad_norm_` does.

        A fused optimizer divides by `grad_scale` while it reads the gradients anyway (it is
        there for `torch.amp.GradScaler`), which saves a pass over all of them.
        """
        if not self.fused:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
            return
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        excess = (norm + NORM_EPSILON) / self.clip_norm
        self.optimizer.grad_scale = excess.clamp_min_(1.0)  # type: ignore[attr-defined]


class _Losses:
    """The last losses, kept on the device so that only every 50th step waits for it."""

    def __init__(self, training: Training) -> None:
        self._values = torch.zeros(LOSSES_KEPT, device=training.device)
        self._rate = training.config.learning_rate
        self._first = 0
        self._count = 0

    @property
    def full(self) -> bool:
        return self._count == LOSSES_KEPT

    def add(self, step: int, loss: torch.Tensor) -> None:
        if self.full or not self._count:
            self._first, self._count = step, 0
        self._values[self._count] = loss
        self._count += 1

    def mean(self) -> float:
        """Of the losses kept.

        Raises:
            LatentbenchError: one is infinite or nan; names the first such step.
        """
        values = self._values[: self._count].cpu()
        broken = (~values.isfinite()).nonzero()
        if len(broken):
            at = int(broken[0])
            raise LatentbenchError(
                f"Training diverged: the loss at step {self._first + at} is {float(values[at])}.",
                f"Try a smaller training.learning_rate (now {self._rate:g}) or a larger "
                "predictor.log_sigma_min, and look for latents that are not finite.",
            )
        return float(values.mean())


def _emulates_bf16(device: torch.device) -> bool:
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
