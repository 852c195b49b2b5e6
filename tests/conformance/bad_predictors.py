"""An inline plugin of predictors, each of which breaks its contract in one way."""

# ruff: noqa: ARG002 - contracts hand over more than a bad component looks at

import itertools
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn
from torch.distributions import Independent, Normal

from latentbench.errors import LatentbenchError
from latentbench.hookspecs import hookimpl
from latentbench.predictors import Predictor
from latentbench.specs import AFTER_FIT, NoOptions, PredictorSpec

COUNTER = itertools.count()


class Sound(Predictor):
    """A Gaussian around a multiple of the last frame: what the others spoil."""

    def __init__(self, options, *, context_frames, dim):
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.factor = nn.Parameter(torch.zeros(dim))

    def fit(self, train, training):
        if not len(train):
            raise LatentbenchError("no frames")
        batch = train.batch(torch.arange(len(train)).numpy())
        last = batch.context[:, -1]
        with torch.no_grad():
            self.factor.copy_((last * batch.target).sum(0) / last.square().sum(0))

    def forward(self, context):
        return Independent(Normal(self.factor * context[:, -1], 1.0), 1)


class NoEvent(Sound):
    def forward(self, context):
        return Normal(self.factor * context[:, -1], 1.0)


class MeanOnly(Sound):
    def forward(self, context):
        return self.factor * context[:, -1]


class WritesLatents(Sound):
    def fit(self, train, training):
        super().fit(train, training)
        train.latents._shards[0].add_(1.0)


class ChangesDtype(Sound):
    def fit(self, train, training):
        super().fit(train, training)
        torch.set_default_dtype(torch.float64)


class Unnormalised(Sound):
    def forward(self, context):
        found = super().forward(context)
        found.log_prob = lambda value, log_prob=found.log_prob: log_prob(value) + 2.0
        return found


class Bounds(Sound):
    """Sound, declared a bound half a nat below its density."""

    density = gives = "bound"

    def forward(self, context):
        found = super().forward(context)
        found.log_prob = lambda value, log_prob=found.log_prob: log_prob(value) - 0.5
        return found


class BoundsFromAbove(Unnormalised):
    density = gives = "bound"


class ShiftedSamples(Sound):
    def forward(self, context):
        found = super().forward(context)
        mean = found.mean
        found.sample = lambda shape=(): mean + 0.2 + torch.randn(*shape, *mean.shape)
        return found


class MeansDimensions(Sound):
    """Sound with one dimension; with more, the log-density is a mean where a sum belongs."""

    def forward(self, context):
        found = super().forward(context)
        found.log_prob = lambda value, log_prob=found.log_prob: log_prob(value) / self.dim
        return found


class ForgetsNormalisers(Sound):
    """Sound with one dimension; each further one adds a factor that should not be there."""

    def forward(self, context):
        found = super().forward(context)
        found.log_prob = lambda value, log_prob=found.log_prob: (
            log_prob(value) + 0.1 * (self.dim - 1)
        )
        return found


class SharesItsNoise(Sound):
    """Sound with one dimension; with more, all dimensions of a draw get the same noise."""

    def forward(self, context):
        found = super().forward(context)
        mean = found.mean
        found.sample = lambda shape=(): mean + torch.randn(*shape, len(mean), 1)
        return found


class AveragesItsMean(Sound):
    def forward(self, context):
        mean = self.factor * context[:, -1] + torch.arange(self.dim)
        found = Independent(Normal(mean, 1.0), 1)
        return Skewed(found)


class Skewed(Independent):
    """Says that every dimension has the mean of all."""

    def __init__(self, found):
        super().__init__(found.base_dist, 1)

    @property
    def mean(self):
        return super().mean.mean(-1, keepdim=True).expand(self.batch_shape + self.event_shape)


class MixesTheBatch(Sound):
    def forward(self, context):
        last = context[:, -1]
        return Independent(Normal(self.factor * last + last.mean(0), 1.0), 1)


class Remembers(Sound):
    def forward(self, context):
        shift = getattr(self, "shift", 0.0)
        self.shift = float(context.mean())
        return Independent(Normal(self.factor * context[:, -1] + shift, 1.0), 1)


class LooksUpTargets(Sound):
    def fit(self, train, training):
        super().fit(train, training)
        self.train_frames = train

    def forward(self, context):
        found = self.factor * context[:, -1]
        if self.dim > 1 and hasattr(self, "train_frames"):
            targets = self.train_frames.targets(torch.arange(len(context)).numpy())
            found = found + targets.mean(0)
        return Independent(Normal(found, 1.0), 1)


class OtherEachFit(Sound):
    def fit(self, train, training):
        super().fit(train, training)
        with torch.no_grad():
            self.factor.add_(0.01 * next(COUNTER))


class HidesWhatItLearned(Sound):
    def fit(self, train, training):
        super().fit(train, training)
        self.learned = self.factor.detach() + 0.5

    def forward(self, context):
        factor = getattr(self, "learned", self.factor)
        return Independent(Normal(factor * context[:, -1], 1.0), 1)


class UnusedParameter(Sound):
    def __init__(self, options, *, context_frames, dim):
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.unused = nn.Parameter(torch.zeros(3))


class FitsNothing(Sound):
    def fit(self, train, training):
        if len(train):
            super().fit(train, training)


class DensityAfterAll(Sound):
    gives = "samples"


class SamplesElsewhere(Sound):
    gives = "samples"

    def forward(self, context):
        class Elsewhere(Independent):
            def log_prob(self, value):
                raise LatentbenchError("it has no log-density")

            def sample(self, sample_shape=()):
                return super().sample(sample_shape) + 3.0

        return Elsewhere(Normal(self.factor * context[:, -1], 1.0), 1)


@dataclass(frozen=True)
class Warm:
    temperature: Annotated[float, AFTER_FIT, "of the samples"] = 1.0


class LearnsItsTemperature(Sound):
    takes = Warm

    def fit(self, train, training):
        super().fit(train, training)
        with torch.no_grad():
            self.factor.mul_(self.options.temperature)


class SamplesByItsTemperature(Sound):
    takes = Warm


CLASSES = [
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Sound)
]


@hookimpl
def latentbench_predictors():
    for made in CLASSES:
        yield PredictorSpec(
            name=made.__name__,
            summary="for tests",
            factory=f"{__name__}:{made.__name__}",
            density=getattr(made, "gives", "exact"),
            options=getattr(made, "takes", NoOptions),
        )
