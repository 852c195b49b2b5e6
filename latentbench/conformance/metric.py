"""The checks of metrics; the contract is `latentbench.metrics.metric.Metric`."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.distributions import Distribution, Independent, Normal

from latentbench.conformance.check import Kit, Subject, require
from latentbench.conformance.tensors import require_tensor
from latentbench.metrics.metric import Metric, Prediction
from latentbench.metrics.speaker_sums import Statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["KIT"]

FRAMES = 50
DIM = 6
PIECES = (1, 17, 30)
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

    def figure(self, *pieces: NDArray[np.int64]) -> float:
        """What a new instance computes of the frames, given piece by piece."""
        metric: Metric = self.make()
        for piece in pieces:
            metric.update({name: values[piece] for name, values in self.columns.items()})
        return metric.compute()


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


def of_nothing(subject: MetricSubject) -> None:
    """No frames give nan."""
    for what, found in (
        ("before any update", subject.make().compute()),
        ("after an update of 0 frames", subject.figure(np.arange(0))),
    ):
        is_nan = isinstance(found, float) and math.isnan(found)
        require(is_nan, f"compute() {what} to be nan", repr(found))


def in_pieces(subject: MetricSubject) -> str:
    """Frames given in pieces give the figure of all frames given at once, a float (1e-9)."""
    whole = subject.figure(np.arange(FRAMES))
    require(isinstance(whole, float), "compute() to give a float", type(whole).__name__)
    pieces = subject.figure(*np.split(np.arange(FRAMES), PIECES))
    require(
        math.isclose(whole, pieces, rel_tol=ROUNDING, abs_tol=ROUNDING),
        f"{whole!r}, as of all frames at once",
        f"{pieces!r} of the same frames in pieces",
    )
    return f"{whole:.4g}"


def compute_again(subject: MetricSubject) -> None:
    """Computing changes nothing: the same comes again, and other instances see none of it."""
    metric = subject.make()
    metric.update(subject.columns)
    first, second = metric.compute(), metric.compute()
    require(first == second, f"{first!r} at the second compute()", f"{second!r}")
    other = subject.make().compute()
    require(math.isnan(other), "nan from another instance without frames", repr(other))


def statistic(subject: MetricSubject) -> str:
    """Its statistic gives its figure, however often each speaker is counted (1e-9).

    Without one, the figure is computed anew without each speaker in turn.
    """
    found = subject.make().statistic
    if found is None:
        return "none: its interval is by the jackknife, of figures without each speaker in turn"
    require(
        isinstance(found, Statistic),
        "statistic to be a latentbench.metrics.speaker_sums.Statistic, or None",
        type(found).__name__,
    )
    known = ", ".join(subject.columns)
    missing = set(found.columns) - set(subject.columns)
    require(not missing, f"a statistic of {known}", f"one of {', '.join(found.columns)}")
    of_frame = np.arange(FRAMES) % len(SPEAKERS)
    table = found.reduce(subject.columns, of_frame, SPEAKERS)
    for counts in COUNTS:
        (value,) = table.values(np.array([counts], dtype=np.float64)).tolist()
        figure = subject.figure(np.repeat(np.arange(FRAMES), np.array(counts)[of_frame]))
        require(
            math.isclose(value, figure, rel_tol=ROUNDING, abs_tol=ROUNDING),
            f"{figure!r} from the statistic, speakers counted {counts} times",
            f"{value!r}",
        )
    return f"{type(found).__name__} of {', '.join(found.columns)}"


KIT = Kit(
    MetricSubject,
    gates=(declares, columns),
    checks=(of_nothing, in_pieces, compute_again, statistic),
)


def _prediction(frames: int) -> Prediction:
    """Of that many frames, with every control a metric may read."""
    generator = torch.Generator().manual_seed(3)
    target, previous, error = torch.randn(3, frames, DIM, generator=generator)
    guess, nothing = 0.5 * target + 0.3 * error, torch.zeros(frames, DIM)
    return Prediction(
        model=_gaussian(guess, 0.6),
        baseline=_gaussian(nothing, 1.0),
        target=target,
        unconditional=_gaussian(nothing, 0.9),
        x=Prediction(
            model=_gaussian(previous + guess, 0.6),
            baseline=_gaussian(nothing, 1.4),
            target=previous + target,
        ),
    )


def _gaussian(mean: torch.Tensor, deviation: float) -> Distribution:
    return Independent(Normal(mean, deviation), 1)
