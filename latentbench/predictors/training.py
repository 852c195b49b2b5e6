"""Training by gradient descent on the negative log-likelihood, resumable to the bit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from latentbench.errors import LatentbenchError, UsageError
from latentbench.predictors.checkpoint import Checkpoint, training_digest
from latentbench.predictors.early_stopping import Validation
from latentbench.predictors.learning_curve import LearningCurve, Loss
from latentbench.predictors.one_row import one_row_will_do
from latentbench.predictors.recycling_linear import release_gradients
from latentbench.predictors.sequences import sees_beyond_window
from latentbench.predictors.training_batches import prepared_batches, sampling
from latentbench.predictors.unrolling import Unrolled, Unrolling, with_noise
from latentbench.progress import STEPS, measure
from latentbench.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from latentbench.config import TrainingConfig
    from latentbench.predictors.predictor import Predictor, Units
    from latentbench.progress import Meter, Progress
    from latentbench.tasks import Batch, TaskFrames

    BatchLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

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
        validation: frames of speakers who are not trained on, seen as the training frames are;
            None without such a side.
        curve: filled in by a training by gradient descent.
    """

    config: TrainingConfig
    seed: int
    device: torch.device
    checkpoint: Path | None
    progress: Progress
    validation: TaskFrames | None = None
    curve: LearningCurve = field(default_factory=LearningCurve)


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
    if frames.blind:
        descent.use_one_row(frames)
    course = _Course(descent, frames, training)
    course.restore()
    if not course.ended:
        _run(course, frames, training)
    course.validation.bring_back_the_best()
    training.curve.end(steps=course.done, converged=course.validation.converged)
    predictor.eval()


class _Course:
    """A training under way: what a checkpoint holds, and how far it is."""

    def __init__(self, descent: Descent, frames: TaskFrames, training: Training) -> None:
        self.descent = descent
        self.training = training
        self.validation = Validation(descent.predictor, training)
        self.losses = _Losses(training)
        self.done = 0
        self.checkpoint = None
        if training.checkpoint is not None:
            digest = training_digest(
                descent.predictor, frames, training.config, training.seed, training.validation
            )
            self.checkpoint = Checkpoint(training.checkpoint, digest)
        self._saved = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether no step is to follow."""
        return self.done >= self.training.config.steps or self.validation.ends_training

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old."""
        late = time.monotonic() - self._saved > CHECKPOINT_SECONDS
        return self.checkpoint is not None and late

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one that fits."""
        if self.checkpoint is None:
            return
        self.done, state = self.checkpoint.restore(
            self.descent.predictor, self.descent.optimizer, self.training.progress
        )
        if state:
            self.validation.restore(state["validation"])
            self.losses.restore(state["losses"])
            self.training.curve.points[:] = [Loss(*point) for point in state["curve"]]

    def save(self) -> str:
        """Write a checkpoint, where one is kept; the loss of the last steps, to be told.

        Raises:
            LatentbenchError: the training diverged, and there is nothing to keep.
        """
        told = f"{self.descent.loss_name} {self.losses.mean():.4g}"
        if self.checkpoint is not None:
            beside = {
                "validation": self.validation.state(),
                "losses": self.losses.state(),
                "curve": [tuple(point) for point in self.training.curve.points],
            }
            self.checkpoint.save(self.descent.predictor, self.descent.optimizer, self.done, beside)
        self._saved = time.monotonic()
        return told

    def step(self, batch: Batch) -> list[Loss]:
        """Take a step, and evaluate where that is due; the losses that are known by it."""
        self.done += 1
        self.losses.add(self.done, self.descent.step(batch, self.done))
        curve = self.training.curve
        before = len(curve.points)
        if self.losses.full or self.done == self.training.config.steps:
            curve.add(self.done, "train", self.losses.mean())
        if self.validation.due(self.done):
            curve.add(self.done, "validation", self.validation.evaluate())
        return curve.points[before:]

    def tell(self, meter: Meter, found: Loss, horizon: int) -> None:
        """Show a loss, and have it kept."""
        trained = self.descent.loss_name
        names = {
            "train": trained,
            "validation": f"{self.descent.predictor.loss_name} of validation",
        }
        meter.note(f"{names[found.split]} {found.loss:.4g}")
        measure(meter, k=horizon, seed=self.training.seed, **found._asdict())


def _run(course: _Course, frames: TaskFrames, training: Training) -> None:
    """Take the steps that are left, until one is the last."""
    # Without a context k shows in nothing but the frames: at all k one network, in one order.
    horizon = 0 if frames.blind else frames.horizon
    units = course.descent.units(frames)
    # Stretches that are rolled out overlap: there are about as many as frames, and as many a batch.
    share = 1.0 if course.descent.unrolling else len(units) / len(frames)
    config = _in_units(training.config, share)
    indices = sampling(config, len(units), training.seed, horizon)
    indices.skip(course.done)
    title = f"train k={frames.horizon}"
    stop = False
    with (
        deferred() as interrupt,  # first: what is said to have begun leaves a checkpoint
        prepared_batches(units, indices, training.device) as batches,
        training.progress.task(title, training.config.steps, STEPS, done=course.done) as meter,
    ):
        while not stop:
            losses = course.step(next(batches))
            meter.advance()
            stop = course.ended or interrupt.is_set()
            if course.save_is_due or stop:
                saved = course.save()
                if not losses:
                    meter.note(saved)
            for loss in losses:
                course.tell(meter, loss, frames.horizon)
        interrupt.pass_on()  # in the task, which was stopped


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
        self.one_row = False
        self.config = config
        self.noise = 0.0
        self.unrolling: Unrolling | None = None
        self.batch_loss = _compiled(predictor.loss) if config.compile else predictor.loss
        self.fused = training.device.type in {"cpu", "cuda"}
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=self.fused,
        )

    def use_one_row(self, blind: TaskFrames) -> None:
        """Compute the density that frames without a context share once a step, where it is one."""
        self.one_row = one_row_will_do(
            self.predictor, blind, self.device, type(self.predictor).loss
        )

    @property
    def loss_name(self) -> str:
        """What the loss of a step is called; that of a rollout is a sum of several."""
        return "loss" if self.unrolling else self.predictor.loss_name

    def units(self, frames: TaskFrames) -> Units:
        """What batches are drawn from; frames without a context are not rolled out.

        Raises:
            UsageError: a rollout would show less than the predictor is to see.
        """
        rollout = self.config.rollout
        self.noise = 0.0 if frames.blind else rollout.noise
        if frames.blind or not rollout.steps:
            return self.predictor.units(frames, self.config.batch_size)
        if sees_beyond_window(self.predictor, frames):
            raise UsageError(
                f"training.rollout.steps={rollout.steps} shows windows of {frames.context_frames} "
                "frame(s), and the predictor is to see further.",
                "Leave out predictor.context=utterance, or training.rollout.steps.",
            )
        self.unrolling = Unrolling(rollout, frames)
        return Unrolled(frames, rollout.steps)

    def step(self, batch: Batch, number: int = 1) -> torch.Tensor:
        """The loss of the batch before step `number`, detached, on the device."""
        release_gradients(self.predictor)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            loss = self._loss(batch, number)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._clip()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, batch: Batch, number: int) -> torch.Tensor:
        if self.unrolling is not None:
            return self.unrolling.loss(self.predictor, batch, number)
        context = batch.context[:1] if self.one_row else batch.context
        if self.noise:
            context = with_noise(context, self.noise)
        return self.batch_loss(context, batch.target)

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


def _compiled(loss: BatchLoss) -> BatchLoss:
    """The same loss, compiled at its first call for the shapes that it is given.

    Numbers are drawn as they would be without, so it differs by rounding alone.

    Raises:
        LatentbenchError: at its first call, where no compiler works here.
    """
    from torch._dynamo.exc import BackendCompilerFailed  # noqa: PLC0415 - seconds to import

    fused = torch.compile(loss, options={"fallback_random": True})

    @wraps(loss)
    def explained(context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        try:
            return fused(context, target)
        except BackendCompilerFailed as error:
            first, *_ = str(error).splitlines()
            raise LatentbenchError(
                f"The loss could not be compiled: {first}",
                "Install a C++ compiler, for CUDA Triton too, or leave training.compile out.",
            ) from error

    return explained


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

    def state(self) -> dict[str, Any]:
        return {"values": self._values, "first": self._first, "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._values.copy_(state["values"])
        self._first, self._count = state["first"], state["count"]

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
