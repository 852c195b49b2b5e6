"""The checks of predictors; the contract is `latentbench.predictors.Predictor`."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, get_type_hints

import numpy as np
import torch
from torch.distributions import Distribution

from latentbench.conformance.check import Kit, NonconformityError, Skip, Subject, require
from latentbench.conformance.closeness import (
    ROUNDING,
    SAME,
    require_finite,
    require_same,
    require_tensor,
)
from latentbench.conformance.fingerprints import other_values
from latentbench.conformance.integration import (
    ERRORS,
    Weighed,
    along_line,
    by_importance,
    follows,
    integrates,
)
from latentbench.conformance.small_world import (
    CONTEXT_FRAMES,
    SEED,
    SmallWorld,
    small_world,
    training,
    true_density,
)
from latentbench.errors import LatentbenchError
from latentbench.metrics.metric import NO_LOG_DENSITY
from latentbench.predictors import Predictor
from latentbench.specs import after_fit
from latentbench.tasks import Batch

if TYPE_CHECKING:
    from latentbench.tasks import TaskFrames

__all__ = ["KIT"]

DIM = 6
MANY = 8  # what importance sampling still reaches
KNOWN = 16
BATCH = 32
DRAWS = 3
MANY_DRAWS = 1_024


class PredictorSubject(Subject):
    """A predictor, fitted once on a small world."""

    contract = Predictor

    @property
    def samples_only(self) -> bool:
        """Whether it gives samples and no log-density."""
        return self.fitted.density == "samples"

    @property
    def bounds(self) -> bool:
        """Whether its log-density is a lower bound."""
        return self.fitted.density == "bound"

    @property
    def answer(self) -> str:
        """What predictions are compared by."""
        return "mean" if self.samples_only else "log_prob"

    def make(self, dim: int = DIM) -> Predictor:
        """A new instance, its initial weights drawn from a fixed seed; not fitted."""
        torch.manual_seed(SEED)
        predictor: Predictor = self.component.create(
            self.options, context_frames=CONTEXT_FRAMES, dim=dim
        )
        return predictor

    def fit(self, dim: int, world: SmallWorld | None = None) -> Predictor:
        """A new instance fitted as the core does: seeded, then in evaluation mode."""
        predictor = self.make(dim)
        torch.manual_seed(SEED)
        predictor.fit((world or small_world(dim)).frames(), training())
        return predictor.eval()

    @cached_property
    def world(self) -> SmallWorld:
        """Where the training frames are."""
        return small_world(DIM)

    @cached_property
    def batch(self) -> Batch:
        """Windows and targets of some frames."""
        return _batch(self.world.frames())

    @cached_property
    def fitted(self) -> Predictor:
        """The instance that most checks look at."""
        return self.fit(DIM, self.world)

    @cached_property
    def line(self) -> Weighed:
        """A density of one dimension, in one context."""
        return along_line(self.fit(1), _batch(small_world(1).frames(), 1).context)

    @cached_property
    def many(self) -> Weighed:
        """A density of eight dimensions, in one context."""
        return by_importance(self.fit(MANY), _batch(small_world(MANY).frames(), 1).context)


def sizes(subject: PredictorSubject) -> str:
    """It says the context_frames and dim that it was made for."""
    predictor = subject.make()
    given, found = (CONTEXT_FRAMES, DIM), (predictor.context_frames, predictor.dim)
    require(found == given, f"(context_frames, dim) = {given}, as given", f"{found}")
    return f"{sum(p.numel() for p in predictor.parameters()):,} parameters at W = 4, D = 6"


def fits(subject: PredictorSubject) -> None:
    """Fitting leaves the latents and torch's settings as they were."""
    before, settings = subject.world.rows.clone(), _settings()
    subject.fitted  # noqa: B018 - fits it
    kept = torch.equal(subject.world.rows, before)
    require(kept, "the latents as they were before fit", "other values")
    require(_settings() == settings, f"torch's settings {settings} after fit", f"{_settings()}")


def distribution(subject: PredictorSubject) -> None:
    """A context [B, W, D] gives a Distribution of batch shape [B] and event shape [D]."""
    found = subject.fitted(subject.batch.context)
    require(isinstance(found, Distribution), "a torch Distribution", type(found).__name__)
    wanted = f"batch shape [{BATCH}] and event shape [{DIM}]"
    came = f"batch shape {list(found.batch_shape)} and event shape {list(found.event_shape)}"
    require(came == wanted, wanted, came)


@torch.no_grad()
def shapes(subject: PredictorSubject) -> None:
    """Shapes are [B] of log_prob, [B, D] of mean and sample, [n, B, D] of n samples; finite.

    Where the predictor gives samples and no log-density, log_prob raises a LatentbenchError.
    """
    found = subject.fitted(subject.batch.context)
    several = found.sample(torch.Size((DRAWS,)))
    if subject.samples_only:
        _require_no_log_prob(found, subject.batch.target)
    else:
        require_tensor(found.log_prob(subject.batch.target), "log_prob(target)", (BATCH,))
    require_tensor(found.mean, "mean", (BATCH, DIM))
    require_tensor(found.sample(), "sample()", (BATCH, DIM))
    require_tensor(several, f"sample(({DRAWS},))", (DRAWS, BATCH, DIM))


def density(subject: PredictorSubject) -> str:
    """The density integrates to 1, and its mean is `mean` (looked at with D = 1, to 1 %).

    A bound integrates to 1 at most.
    """
    if subject.samples_only:
        return Skip(NO_LOG_DENSITY)
    return integrates(subject.line, bound=subject.bounds)


def samples(subject: PredictorSubject) -> str:
    """Samples follow the density, and follow torch.manual_seed (looked at with D = 1).

    Of samples alone or of a bound, their mean is `mean` to one standard deviation.
    """
    if subject.samples_only or subject.bounds:
        return _samples_alone(subject)
    return follows(subject.line)


def density_in_many(subject: PredictorSubject) -> str:
    """The same with D = 8, by importance sampling (to 5 standard errors)."""
    if subject.samples_only:
        return Skip(NO_LOG_DENSITY)
    return integrates(subject.many, bound=subject.bounds)


def samples_in_many(subject: PredictorSubject) -> str:
    """Samples follow the density with D = 8 too: log_prob of both is distributed alike."""
    if subject.samples_only:
        return Skip(NO_LOG_DENSITY)
    return Skip("samples do not follow a bound") if subject.bounds else follows(subject.many)


def no_better_than_truth(subject: PredictorSubject) -> str:
    """On frames of a known Gaussian of 16 dimensions the density is no better than the truth.

    Not by more than 5 standard errors: on average over new frames no density is.
    """
    if subject.samples_only:
        return Skip(NO_LOG_DENSITY)
    frames = small_world(KNOWN, seed=1).frames()
    batch = _batch(frames, len(frames))
    truth: torch.Tensor = true_density(batch.context).log_prob(batch.target)
    gain = _answer(subject.fit(KNOWN), batch) - truth
    mean, error = float(gain.mean()), float(gain.std()) / len(gain) ** 0.5
    found = f"{mean:+.2f} nats/frame against the truth (standard error {error:.2g})"
    require(mean <= ERRORS * error, "a mean log_prob no higher than the true density's", found)
    return found


@torch.no_grad()
def batch_invariant(subject: PredictorSubject) -> str:
    """A context gives the same density alone and in a batch (log_prob or mean to 1e-5)."""
    together, batch = _answer(subject.fitted, subject.batch)[:3], subject.batch
    each = [Batch(batch.context[i : i + 1], batch.target[i : i + 1]) for i in range(3)]
    alone = torch.cat([_answer(subject.fitted, one) for one in each])
    return require_same(together, alone, ROUNDING, f"{subject.answer} in a batch as alone")


def context_only(subject: PredictorSubject) -> str:
    """A prediction depends on its context alone.

    Not on the latents it was fitted on, nor on earlier predictions; the context stays as it is.
    """
    world = small_world(DIM)
    predictor, batch = subject.fit(DIM, world), _batch(world.frames())
    context, before = batch.context.clone(), _answer(predictor, batch)
    world.rows.mul_(-3.0)  # these hold the targets
    with torch.no_grad():
        predictor(5.0 * torch.randn(BATCH, CONTEXT_FRAMES, DIM))
    require(torch.equal(batch.context, context), "the context as it was given", "other values")
    what = f"{subject.answer} as before the targets were changed"
    return require_same(before, _answer(predictor, batch), SAME, what)


def deterministic(subject: PredictorSubject) -> str:
    """Made and fitted twice from one seed, it predicts the same."""
    first, again = subject.fitted, subject.fit(DIM, subject.world)
    what = f"{subject.answer} of the first fit from a second one"
    return _require_as_good(subject, first, again, what)


def state_dict(subject: PredictorSubject) -> str:
    """All that fit learned is in state_dict: a new instance that loads it predicts the same."""
    other = subject.make()
    other.load_state_dict(subject.fitted.state_dict())
    what = f"{subject.answer} of the fitted one after load_state_dict"
    return _require_as_good(subject, subject.fitted, other.eval(), what)


def options_after_fit(subject: PredictorSubject) -> str:
    """Options that are marked by AFTER_FIT change nothing of what fit learns."""
    hints = get_type_hints(type(subject.options))
    changed = {
        name: next(iter(other_values(hints[name], getattr(subject.options, name))), 1)
        for name in sorted(after_fit(type(subject.options)))
    }
    if not changed:
        return "no option is marked"
    options = replace(subject.options, **changed)
    other = type(subject)(subject.component, options, subject.workspace).fit(DIM, subject.world)
    learned, found = subject.fitted.state_dict(), other.state_dict()
    same = learned.keys() == found.keys() and all(
        torch.equal(one, found[name]) for name, one in learned.items()
    )
    require(same, f"the same weights whatever {', '.join(changed)}", "others")
    return ", ".join(changed)


def gradients(subject: PredictorSubject) -> str:
    """The NLL has a finite gradient with respect to every parameter; of samples alone, the loss."""
    predictor = subject.make().train()
    parameters = dict(predictor.named_parameters())
    if not parameters:
        return Skip("it has no parameters")
    batch = subject.batch
    if subject.samples_only:
        loss = predictor.loss(batch.context, batch.target)
    else:
        loss = -predictor(batch.context).log_prob(batch.target).mean()
    loss.backward()  # type: ignore[no-untyped-call] # torch's has no types
    for name, parameter in parameters.items():
        require(parameter.grad is not None, f"a gradient of '{name}'", "none")
        if parameter.grad is not None:
            require_finite(parameter.grad, f"the gradient of '{name}'")
    return f"{len(parameters)} parameters"


def no_frames(subject: PredictorSubject) -> str:
    """Fitting on no frames raises a LatentbenchError."""
    try:
        subject.make().fit(subject.world.frames_of(range(0)), training())
    except LatentbenchError as error:
        return error.message
    raise NonconformityError("a LatentbenchError from fit without frames", "no error")


KIT = Kit(
    PredictorSubject,
    gates=(sizes, fits, distribution, shapes),
    checks=(
        density,
        samples,
        density_in_many,
        samples_in_many,
        no_better_than_truth,
        batch_invariant,
        context_only,
        deterministic,
        state_dict,
        options_after_fit,
        gradients,
        no_frames,
    ),
)


def _batch(frames: TaskFrames, size: int = BATCH) -> Batch:
    return frames.batch(np.arange(size, dtype=np.int64))


@torch.no_grad()
def _answer(predictor: Predictor, batch: Batch) -> torch.Tensor:
    """The log_prob of the targets [B], or of samples alone the means [B, D]; float64."""
    found: Distribution = predictor(batch.context)
    answer = found.mean if predictor.density == "samples" else found.log_prob(batch.target)
    return answer.double()


def _require_as_good(subject: PredictorSubject, one: Predictor, other: Predictor, what: str) -> str:
    """Hold two predictors to one answer."""
    batch = subject.batch
    return require_same(_answer(one, batch), _answer(other, batch), SAME, what)


def _require_no_log_prob(found: Distribution, target: torch.Tensor) -> None:
    try:
        found.log_prob(target)
    except LatentbenchError:
        return
    raise NonconformityError(
        "a LatentbenchError from log_prob of a predictor declared density='samples'", "numbers"
    )


@torch.no_grad()
def _samples_alone(subject: PredictorSubject) -> str:
    found = subject.fitted(subject.batch.context[:1])
    drawn = []
    for seed in (SEED, SEED, SEED + 1):
        torch.manual_seed(seed)
        drawn.append(found.sample(torch.Size((MANY_DRAWS,)))[:, 0])
    require(torch.equal(drawn[0], drawn[1]), "the same samples after the same seed", "others")
    require(not torch.equal(drawn[0], drawn[2]), "other samples after another seed", "the same")
    away = float(((drawn[0].mean(0) - found.mean[0]).abs() / drawn[0].std(0)).max())
    wanted = f"mean to be that of {MANY_DRAWS} samples, to one standard deviation"
    require(away <= 1.0, wanted, f"{away:.2f} standard deviations apart")
    return f"{away:.2f} standard deviations from mean"


def _settings() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "validation": Distribution._validate_args,  # noqa: SLF001 - torch has no getter
    }
