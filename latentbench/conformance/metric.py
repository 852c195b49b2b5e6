"""The checks of metrics; the contract is `latentbench.metrics.metric.Metric`."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.distributions import Distribution, Independent, Normal

from latentbench.conformance.check import Kit, Subject, require
from latentbench.conformance.closeness import require_tensor
from latentbench.errors import UsageError
from latentbench.metrics.metric import Metric, Prediction
from latentbench.metrics.statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["KIT"]

FRAMES = 50
DIM = 6
NEEDS = ("log_prob", "mean", "sample")
SPEAKERS = ("a", "b", "c", "d", "e")
COUNTS = ((1, 1, 1, 1, 1), (2, 0, 1, 3, 1))
ROUNDING = 1e-9


class MetricSubject(Subject):
    """A metric, and predictions that are neither perfect nor useless."""

    contract = Metric

    @cached_property
    def prediction(self) -> Prediction:
        """Gaussians around half of the target; the baseline has batch shape [B]."""
        return _prediction(FRAMES)

    @cached_property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Every column of the prediction, [FRAMES]."""
        with torch.inference_mode():
            return {
                name: column(self.prediction).double().numpy()
                for name, column in self.make().columns.items()
            }

    def figure(self, frames: NDArray[np.int64], counts: Sequence[int] = (1,) * 5) -> float:
        """The figure of the frames numbered `frames`, their speakers counted so many times."""
        columns = {name: values[frames] for name, values in self.columns.items()}
        table = self.make().statistic.reduce(columns, frames % len(SPEAKERS), SPEAKERS)
        weights = [float(counts[SPEAKERS.index(one)]) for one in table.speakers]
        return float(table.values(np.array([weights]))[0])


class _Asked(Distribution):
    """A density that notes what it is asked for.

    Args:
        density: that answers.
        asked: where it is noted.
    """

    def __init__(self, density: Distribution, asked: set[str]) -> None:
        self._density = density
        self._asked = asked
        super().__init__(density.batch_shape, density.event_shape, validate_args=False)

    @property
    def mean(self) -> torch.Tensor:
        self._asked.add("mean")
        return self._density.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        self._asked.add("log_prob")
        return self._density.log_prob(value)

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        self._asked.add("sample")
        return self._density.sample(torch.Size(sample_shape))


def declares(subject: MetricSubject) -> str:
    """A metric says its name, its unit, which way is better, and the columns it reads."""
    metric, name = subject.make(), subject.component.spec.name
    own = getattr(metric, "name", None)
    require(own == name, f"name = '{name}', as in the spec", repr(own))
    require(isinstance(metric.unit, str), "unit to be a text", repr(metric.unit))
    better = getattr(metric, "better", None)
    known = better in {"lower", "higher", "nominal"}
    require(known, "better = 'lower', 'higher' or 'nominal'", repr(better))
    wanted = "nominal = the ideal value where better = 'nominal', else None"
    require((better == "nominal") == (metric.nominal is not None), wanted, repr(metric.nominal))
    columns = getattr(metric, "columns", None)
    require(columns, "columns that the metric reads", repr(columns))
    unknown = set(metric.needs) - set(NEEDS)
    require(not unknown, f"needs among {', '.join(NEEDS)}", repr(metric.needs))
    best = f"{metric.nominal:g} is best" if better == "nominal" else f"{better} is better"
    return f"{metric.unit or 'a pure number'}, {best}, of {', '.join(metric.columns)}"


@torch.inference_mode()
def columns(subject: MetricSubject) -> None:
    """Each column gives one finite number per frame, [B].

    Also for a single frame, and for a baseline that is broadcast.
    """
    prediction = subject.prediction
    broadcast = replace(prediction, baseline=_gaussian(torch.zeros(1, DIM), 1.0))
    for name, column in subject.make().columns.items():
        require_tensor(column(prediction), f"column '{name}'", [FRAMES])
        what = f"column '{name}' with a baseline of batch shape [1]"
        require_tensor(column(broadcast), what, [FRAMES])
        require_tensor(column(_prediction(1)), f"column '{name}' of one frame", [1])


@torch.inference_mode()
def needs(subject: MetricSubject) -> str:
    """The columns ask the model for nothing that `needs` does not name."""
    metric: Metric = subject.make()
    asked: set[str] = set()
    watched = _prediction(FRAMES, lambda density: _Asked(density, asked))
    for column in metric.columns.values():
        with suppress(UsageError):  # it refuses, in words, a density that hides its parts
            column(watched)
    more = ", ".join(sorted(asked - set(metric.needs)))
    require(not more, f"needs to name {more}, which its columns ask for", repr(tuple(metric.needs)))
    return ", ".join(metric.needs) or "nothing"


def statistic(subject: MetricSubject) -> str:
    """Its statistic gives a number, of columns that the metric has."""
    found = getattr(subject.make(), "statistic", None)
    wanted = "statistic to be a latentbench.metrics.statistics.Statistic"
    require(isinstance(found, Statistic), wanted, type(found).__name__)
    read, known = ", ".join(found.columns) if found else "", set(subject.columns)
    require(set(read.split(", ")) <= known, f"a statistic of {', '.join(known)}", f"one of {read}")
    value = subject.figure(np.arange(FRAMES))
    require(math.isfinite(value), "a finite number", repr(value))
    return f"{type(found).__name__} of {read}: {value:.4g}"


def counts(subject: MetricSubject) -> None:
    """A speaker counted twice is two of them, and the order of frames does not matter (1e-9)."""
    every = np.arange(FRAMES)
    for times in COUNTS:
        found = subject.figure(every, times)
        written = subject.figure(np.repeat(every, np.array(times)[every % len(SPEAKERS)])[::-1])
        require(
            math.isclose(found, written, rel_tol=ROUNDING, abs_tol=ROUNDING),
            f"{written!r} of speakers counted {times} times, as of frames written out so often",
            f"{found!r}",
        )


KIT = Kit(
    MetricSubject,
    gates=(declares, columns, statistic),
    checks=(needs, counts),
)


def _prediction(
    frames: int, watch: Callable[[Distribution], Distribution] = lambda density: density
) -> Prediction:
    """Of that many frames, with every control a metric may read; `watch` takes the model's."""
    generator = torch.Generator().manual_seed(3)
    target, previous, error = torch.randn(3, frames, DIM, generator=generator)
    guess, nothing = 0.5 * target + 0.3 * error, torch.zeros(frames, DIM)
    return Prediction(
        model=watch(_gaussian(guess, 0.6)),
        baseline=_gaussian(nothing, 1.0),
        target=target,
        unconditional=watch(_gaussian(nothing, 0.9)),
        x=Prediction(
            model=watch(_gaussian(previous + guess, 0.6)),
            baseline=_gaussian(nothing, 1.4),
            target=previous + target,
        ),
    )


def _gaussian(mean: torch.Tensor, deviation: float) -> Distribution:
    return Independent(Normal(mean, deviation), 1)
