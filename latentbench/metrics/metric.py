"""The metric contract: scores of single frames, and one statistic of them.

`columns` names scores and how each is computed from a prediction. They are computed once, in
batches on the device, and kept in `frames.parquet`. `statistic` says how the figure follows from
them; its value and its interval, for any subset of the frames, come from it and the file alone.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from latentbench.errors import UsageError
from latentbench.specs import MetricSpec, NoOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import torch
    from torch.distributions import Distribution

    from latentbench.metrics.statistics import Statistic
    from latentbench.specs import Density

    Column: TypeAlias = Callable[["Prediction"], torch.Tensor]

__all__ = [
    "NO_LOG_DENSITY",
    "MeanMetric",
    "Metric",
    "Prediction",
    "lacking",
    "merge_columns",
    "metric",
]

Better: TypeAlias = Literal["lower", "higher", "nominal"]

NO_LOG_DENSITY = "the predictor gives samples and no log-density"
ALL_NEEDS = ("log_prob", "mean", "sample")


@dataclass(frozen=True)
class Prediction:
    """A batch of predictions beside what came true.

    Attributes:
        model: the predictor's density, batch [B], event [D].
        baseline: the baseline's density, batch [B] or broadcastable to it, event [D].
        target: [B, D].
        unconditional: the density of the same model fitted without context; None if there is
            none. What it gains over the baseline is capacity, not context.
        x: the same frames with x_t for a target; None if there are none.
    """

    model: Distribution
    baseline: Distribution
    target: torch.Tensor
    unconditional: Distribution | None = None
    x: Prediction | None = None


class Metric:
    """A figure over frames; made by `factory(options)`.

    Args:
        options: of the plugin, kept as `self.options`.

    Attributes:
        name: as in tables and files, e.g. `direction_cos`.
        unit: e.g. `nats/frame`; empty for a pure number.
        better: which way is better: `lower`, `higher`, or `nominal`, the closer to `nominal`.
        nominal: the ideal value where `better` is `nominal`, as of a coverage.
        columns: per-frame scores: name -> function of a prediction giving [B]. Metrics that
            read the same column share one function.
        statistic: of the columns, by `latentbench.metrics.statistics`.
        needs: what the columns ask of the model's density: some of `log_prob`, `mean`, `sample`.
            A predictor that lacks one of them has no figure, and the tables say why.
        control: the control that the columns look at, `unconditional` or `x_target`; empty for
            none. Where it was not fitted there is no figure.
        least_dim: dimensions that frames must have; of fewer there is no figure.
    """

    name: str
    unit: str = ""
    better: Better
    nominal: float | None = None
    columns: Mapping[str, Column]
    statistic: Statistic
    needs: Collection[str] = ALL_NEEDS
    control: str = ""
    least_dim: int = 1

    def __init__(self, options: Any = NoOptions()) -> None:  # noqa: B008 - it has no state
        self.options = options


class MeanMetric(Metric):
    """The mean of one column, or of the first minus the second, frame by frame."""

    @cached_property
    def statistic(self) -> Statistic:  # type: ignore[override] # mypy takes it for read-only
        """The mean.

        Raises:
            ValueError: there are more than two columns.
        """
        from latentbench.metrics.statistics import Mean  # noqa: PLC0415 - listing needs no numpy

        column, *minus = self.columns
        if len(minus) > 1:
            raise ValueError("a MeanMetric has one column, or two of which one is subtracted")
        return Mean(column, *minus)


def metric(
    *,
    better: Better,
    name: str = "",
    unit: str = "",
    nominal: float | None = None,
    needs: Collection[str] = ALL_NEEDS,
    options: type = NoOptions,
) -> Callable[[Callable[..., torch.Tensor]], type[MeanMetric]]:
    """Make a metric of a function: the mean over frames of what it gives.

        @metric(unit="latent units", better="lower", needs=["mean"])
        def miss(prediction):
            "Distance of the predicted mean from the target."
            return (prediction.target - prediction.model.mean).norm(dim=-1)

    The function takes a `Prediction` and, where there are options, these; it gives [B]. Its first
    line of documentation is the summary. What is made has its spec as `miss.spec`.

    Args:
        better: which way is better.
        name: of the metric; of the function if empty.
        unit: empty for a pure number.
        nominal: the ideal value where `better` is `nominal`.
        needs: what the function asks of the model's density.
        options: a frozen dataclass.
    """

    def made(function: Callable[..., torch.Tensor]) -> type[MeanMetric]:
        title = function.__name__
        spec = MetricSpec(
            name=name or title,
            summary=(inspect.getdoc(function) or title).partition("\n")[0],
            factory=f"{function.__module__}:{function.__qualname__}",
            options=options,
        )
        of_function = {"function": staticmethod(function), "spec": spec}
        same = {one: getattr(function, one) for one in ("__doc__", "__module__", "__qualname__")}
        says = {"name": spec.name, "unit": unit, "better": better, "nominal": nominal}
        body = {**same, **of_function, **says, "needs": tuple(needs)}
        return cast("type[MeanMetric]", type(title, (_OfFunction,), body))

    return made


class _OfFunction(MeanMetric):
    """The mean of one function of a prediction, and of options where it has some."""

    spec: MetricSpec
    function: Callable[..., torch.Tensor]

    def __init__(self, options: Any = NoOptions()) -> None:  # noqa: B008 - it has no state
        super().__init__(options)
        with_options = self.spec.options is not NoOptions
        column = partial(self.function, options=options) if with_options else self.function
        self.columns = MappingProxyType({self.spec.name: column})


def lacking(metric: Metric, density: Density, controls: Collection[str], dim: int) -> str:
    """Why a run has no figure of a metric; empty where it has.

    Args:
        metric: that is asked for.
        density: what the predictor gives.
        controls: that are fitted.
        dim: D of the frames that are predicted; 0 where it is not known.
    """
    if density == "samples" and "log_prob" in metric.needs:
        return NO_LOG_DENSITY
    if metric.control and metric.control not in controls:
        return f"the control '{metric.control}' was not fitted"
    if 0 < dim < metric.least_dim:
        return f"it needs {metric.least_dim} dimensions, and frames have {dim}"
    return ""


def merge_columns(metrics: Iterable[Metric]) -> dict[str, Column]:
    """Every column that the metrics read, once.

    Raises:
        UsageError: two metrics read different columns of one name; names both. Or one has no
            statistic, or one of a column that it does not have.
    """
    merged: dict[str, Column] = {}
    reader: dict[str, str] = {}
    for one in metrics:
        _check_statistic(one)
        for name, column in one.columns.items():
            if merged.setdefault(name, column) is not column:
                raise UsageError(
                    f"The metrics '{reader[name]}' and '{one.name}' read different columns "
                    f"called '{name}': {_where(merged[name])} and {_where(column)}.",
                    "Leave one of them out of evaluation.metrics, or rename the column of one.",
                )
            reader.setdefault(name, one.name)
    return merged


def _check_statistic(metric: Metric) -> None:
    if not hasattr(metric, "statistic"):
        raise UsageError(
            f"The metric '{metric.name}' has no statistic, so no figure follows from its columns.",
            "Give it one of latentbench.metrics.statistics, or make it a MeanMetric.",
        )
    if missing := set(metric.statistic.columns) - set(metric.columns):
        raise UsageError(
            f"The statistic of the metric '{metric.name}' reads {', '.join(sorted(missing))}, "
            f"which is not among its columns: {', '.join(metric.columns)}.",
            "Give the metric that column, or its statistic another.",
        )


def _where(column: Column) -> str:
    return f"{column.__module__}.{getattr(column, '__qualname__', repr(column))}"
