"""The conformance kit of predictors; the contract is `latentbench.predictors.Predictor`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.distributions import Distribution

from latentbench.conformance.check import Check, Kit, NonconformityError, Skip, Subject, require
from latentbench.conformance.density import integrates, sampled
from latentbench.conformance.importance import (
    ERRORS,
    Weighed,
    integrates_in_many,
    sampled_in_many,
    weighed,
)
from latentbench.conformance.world import (
    CONTEXT_FRAMES,
    SEED,
    SmallWorld,
    small_world,
    training,
    true_density,
)
from latentbench.errors import LatentbenchError
from latentbench.predictors import Predictor

if TYPE_CHECKING:
    from latentbench.conformance.check import Verdict
    from latentbench.tasks import Batch, TaskFrames

__all__ = ["KIT"]

DIM = 6
MANY = 8  # what importance sampling still reaches
KNOWN = 16
BATCH = 32
DRAWS = 3
SAME = 1e-6
ROUNDING = 1e-5


class PredictorSubject(Subject):
    """A predictor, fitted once on a small world."""

    def make(self, dim: int = DIM) -> Predictor:
        """A new instance, its initial weights drawn from a fixed seed; not fitted."""
        torch.manual_seed(SEED)
        predictor: Predictor = self.component.create(
            self.options, context_frames=CONTEXT_FRAMES, dim=dim
        )
        return predictor

    def fit(self, predictor: Predictor, frames: TaskFrames) -> Predictor:
        """Fit as the core does: seeded, then in evaluation mode."""
        torch.manual_seed(SEED)
        predictor.fit(frames, training())
        return predictor.eval()

    @cached_property
    def world(self) -> SmallWorld:
        """Where the training frames are."""
        return small_world(DIM)

    @cached_property
    def frames(self) -> TaskFrames:
        """The training frames."""
        return self.world.frames()

    @cached_property
    def batch(self) -> Batch:
        """Windows and targets of some frames."""
        return self.frames.batch(np.arange(BATCH, dtype=np.int64))

    @cached_property
    def fitted(self) -> Predictor:
        """The instance that most checks look at."""
        return self.fit(self.make(), self.frames)

    @cached_property
    def line(self) -> tuple[Predictor, torch.Tensor]:
        """A predictor fitted on frames of one dimension, and one context, [1, W, 1]."""
        frames = small_world(1).frames()
        return self.fit(self.make(1), frames), frames.batch(np.arange(1)).context

    @cached_property
    def many(self) -> Weighed:
        """A predictor fitted on frames of eight dimensions, weighed in one context."""
        frames = small_world(MANY).frames()
        context = frames.batch(np.arange(1)).context
        return weighed(self.fit(self.make(MANY), frames), context)


def creates(subject: PredictorSubject) -> Verdict:
    """The factory, given context_frames and dim, gives a Predictor that says both."""
    predictor = subject.make()
    require(
        isinstance(predictor, Predictor),
        f"{subject.component.spec.factory} to give a latentbench.predictors.Predictor",
        type(predictor).__name__,
    )
    found = (predictor.context_frames, predictor.dim)
    require(
        found == (CONTEXT_FRAMES, DIM),
        f"context_frames = {CONTEXT_FRAMES}, dim = {DIM}, as given",
        f"context_frames = {found[0]}, dim = {found[1]}",
    )
    return f"{sum(p.numel() for p in predictor.parameters()):,} parameters at W = 4, D = 6"


def fits(subject: PredictorSubject) -> Verdict:
    """Fitting leaves the latents and torch's settings as they were."""
    before, settings = subject.world.rows.clone(), _settings()
    subject.fitted  # noqa: B018 - fits it
    require(
        torch.equal(subject.world.rows, before),
        "the latents as they were before fit",
        "other values",
    )
    require(_settings() == settings, f"torch's settings {settings} after fit", f"{_settings()}")
    return None


def distribution(subject: PredictorSubject) -> Verdict:
    """A context [B, W, D] gives a Distribution of batch shape [B] and event shape [D]."""
    found = subject.fitted(subject.batch.context)
    require(isinstance(found, Distribution), "a torch Distribution", type(found).__name__)
    shapes = tuple(found.batch_shape), tuple(found.event_shape)
    require(
        shapes == ((BATCH,), (DIM,)),
        f"batch shape [{BATCH}] and event shape [{DIM}]",
        f"batch shape {list(shapes[0])} and event shape {list(shapes[1])}",
    )
    return None


def shapes(subject: PredictorSubject) -> Verdict:
    """Shapes are [B] of log_prob, [B, D] of mean and sample, [n, B, D] of n samples; finite."""
    with torch.no_grad():
        found = subject.fitted(subject.batch.context)
        parts = {
            "log_prob(target)": (found.log_prob(subject.batch.target), (BATCH,)),
            "mean": (found.mean, (BATCH, DIM)),
            "sample()": (found.sample(), (BATCH, DIM)),
            f"sample(({DRAWS},))": (
                found.sample(torch.Size((DRAWS,))),
                (DRAWS, BATCH, DIM),
            ),
        }
    for what, (value, shape) in parts.items():
        require(
            tuple(value.shape) == shape,
            f"{what} of shape {list(shape)}",
            f"shape {list(value.shape)}",
        )
        bad = int((~value.isfinite()).sum())
        require(not bad, f"{what} finite", f"{bad} of {value.numel()} values not finite")
    return None


def density(subject: PredictorSubject) -> Verdict:
    """The density integrates to 1, and its mean is `mean` (looked at with D = 1, to 1 %)."""
    return integrates(*subject.line)


def samples(subject: PredictorSubject) -> Verdict:
    """Samples follow the density, and follow torch.manual_seed (looked at with D = 1)."""
    return sampled(*subject.line)


def density_in_many(subject: PredictorSubject) -> Verdict:
    """The same with D = 8, by importance sampling (to 5 standard errors)."""
    return integrates_in_many(subject.many)


def samples_in_many(subject: PredictorSubject) -> Verdict:
    """Samples follow the density with D = 8 too: log_prob of both is distributed alike."""
    return sampled_in_many(subject.many)


def no_better_than_truth(subject: PredictorSubject) -> Verdict:
    """On frames of a known Gaussian of 16 dimensions the density is no better than the truth.

    Not by more than 5 standard errors: on average over new frames no density is.
    """
    predictor = subject.fit(subject.make(KNOWN), small_world(KNOWN).frames())
    frames = small_world(KNOWN, seed=1).frames()
    batch = frames.batch(np.arange(len(frames), dtype=np.int64))
    truth: torch.Tensor = true_density(batch.context).log_prob(batch.target)
    gain = _log_prob(predictor, batch) - truth
    mean, error = float(gain.mean()), float(gain.std()) / len(gain) ** 0.5
    found = f"{mean:+.2f} nats/frame against the truth (standard error {error:.2g})"
    require(mean <= ERRORS * error, "a mean log_prob no higher than the true density's", found)
    return found


def batch_invariant(subject: PredictorSubject) -> Verdict:
    """A context gives the same density alone and in a batch (log_prob to 1e-5)."""
    together = _log_prob(subject.fitted, subject.batch)
    alone = torch.cat(
        [
            subject.fitted(subject.batch.context[i : i + 1]).log_prob(subject.batch.target[i])
            for i in range(3)
        ]
    ).detach()
    return _same(together[:3], alone.double(), ROUNDING, "log_prob in a batch as alone")


def context_only(subject: PredictorSubject) -> Verdict:
    """A prediction depends on its context alone.

    Not on the latents it was fitted on, nor on earlier predictions; the context stays as it is.
    """
    world = small_world(DIM)
    frames = world.frames()
    predictor = subject.fit(subject.make(), frames)
    batch = frames.batch(np.arange(BATCH, dtype=np.int64))
    context, before = batch.context.clone(), _log_prob(predictor, batch)
    world.rows.mul_(-3.0)  # these hold the targets
    with torch.no_grad():
        predictor(5.0 * torch.randn(BATCH, CONTEXT_FRAMES, DIM))
    require(torch.equal(batch.context, context), "the context as it was given", "other values")
    return _same(
        before, _log_prob(predictor, batch), SAME, "log_prob as before the targets were changed"
    )


def deterministic(subject: PredictorSubject) -> Verdict:
    """Made and fitted twice from one seed, it predicts the same."""
    again = subject.fit(subject.make(), subject.frames)
    return _same(
        _log_prob(subject.fitted, subject.batch),
        _log_prob(again, subject.batch),
        SAME,
        "log_prob of the first fit from a second one",
    )


def state_dict(subject: PredictorSubject) -> Verdict:
    """All that fit learned is in state_dict: a new instance that loads it predicts the same."""
    other = subject.make()
    other.load_state_dict(subject.fitted.state_dict())
    return _same(
        _log_prob(subject.fitted, subject.batch),
        _log_prob(other.eval(), subject.batch),
        SAME,
        "log_prob of the fitted one after load_state_dict",
    )


def gradients(subject: PredictorSubject) -> Verdict:
    """The NLL has a finite gradient with respect to every parameter."""
    predictor = subject.make().train()
    parameters = dict(predictor.named_parameters())
    if not parameters:
        return Skip("it has no parameters")
    loss = -predictor(subject.batch.context).log_prob(subject.batch.target).mean()
    loss.backward()
    for name, parameter in parameters.items():
        require(parameter.grad is not None, f"a gradient of '{name}'", "none")
        finite = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        require(finite, f"a finite gradient of '{name}'", "infinite or nan")
    return f"{len(parameters)} parameters"


def no_frames(subject: PredictorSubject) -> Verdict:
    """Fitting on no frames raises a LatentbenchError."""
    try:
        subject.make().fit(subject.world.frames_of(range(0)), training())
    except LatentbenchError as error:
        return error.message
    raise NonconformityError("a LatentbenchError from fit without frames", "no error")


KIT: Kit[PredictorSubject] = Kit(
    "predictor",
    PredictorSubject,
    (
        Check(creates, gate=True),
        Check(fits, gate=True),
        Check(distribution, gate=True),
        Check(shapes, gate=True),
        Check(density),
        Check(samples),
        Check(density_in_many),
        Check(samples_in_many),
        Check(no_better_than_truth),
        Check(batch_invariant),
        Check(context_only),
        Check(deterministic),
        Check(state_dict),
        Check(gradients),
        Check(no_frames),
    ),
)


def _log_prob(predictor: Predictor, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        log_prob: torch.Tensor = predictor(batch.context).log_prob(batch.target).double()
    return log_prob


def _same(expected: torch.Tensor, came: torch.Tensor, tolerance: float, what: str) -> str:
    worst = float(((expected - came).abs() / (1 + expected.abs())).max())
    require(worst <= tolerance, f"{what}, to {tolerance:.0e}", f"a difference of {worst:.1e}")
    return f"largest difference {worst:.1e}"


def _settings() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "validation": Distribution._validate_args,  # noqa: SLF001 - torch has no getter
    }
