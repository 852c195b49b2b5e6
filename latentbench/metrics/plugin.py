"""The metrics that ship with latentbench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.hookspecs import hookimpl
from latentbench.specs import MetricSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["latentbench_metrics"]


@hookimpl
def latentbench_metrics() -> Iterator[MetricSpec]:
    """Likelihood, direction and magnitude of Phase 1."""
    yield MetricSpec(
        name="nll",
        summary="mean negative log-likelihood of the target, nats/frame",
        factory="latentbench.metrics.likelihood:NLL",
    )
    yield MetricSpec(
        name="nll_baseline",
        summary="mean negative log-likelihood under the baseline, nats/frame",
        factory="latentbench.metrics.likelihood:BaselineNLL",
    )
    yield MetricSpec(
        name="dnll",
        summary="nll minus nll_baseline, nats/frame; negative: better than the baseline",
        factory="latentbench.metrics.likelihood:DeltaNLL",
    )
    yield MetricSpec(
        name="direction_cos",
        summary="mean cosine between the target and the predicted mean",
        factory="latentbench.metrics.direction:DirectionCosine",
    )
    yield MetricSpec(
        name="logmag_r2",
        summary="R² of the log-magnitude of the predicted mean, mean-squared form (published)",
        factory="latentbench.metrics.magnitude:LogMagnitudeR2",
    )
    yield MetricSpec(
        name="logmag_r2_var",
        summary="R² of the log-magnitude of the predicted mean, variance form",
        factory="latentbench.metrics.magnitude:LogMagnitudeR2Var",
    )
