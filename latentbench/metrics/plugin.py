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
    """Likelihood, direction and magnitude of Phase 1, and scores of the whole density."""
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
        name="dnll_capacity",
        summary="part of dnll that the same model gains without context, nats/frame",
        factory="latentbench.metrics.likelihood:CapacityNLL",
    )
    yield MetricSpec(
        name="dnll_context",
        summary="part of dnll that is due to the context, nats/frame",
        factory="latentbench.metrics.likelihood:ContextNLL",
    )
    yield MetricSpec(
        name="gain",
        summary="what the context is worth: NLL without it minus NLL with it, nats/frame",
        factory="latentbench.metrics.likelihood:Gain",
    )
    yield MetricSpec(
        name="r2i",
        summary="the gain per dimension as a coefficient of determination, 1 - exp(-2 G/D)",
        factory="latentbench.metrics.likelihood:InformationalR2",
    )
    yield MetricSpec(
        name="x_gain",
        summary="gain on x_t itself, which has no iid floor, nats/frame",
        factory="latentbench.metrics.likelihood:XGain",
    )
    yield MetricSpec(
        name="direction_cos",
        summary="mean cosine between the target and the predicted mean",
        factory="latentbench.metrics.predicted_mean:DirectionCosine",
    )
    yield MetricSpec(
        name="logmag_r2",
        summary="R² of the log-magnitude of the predicted mean, mean-squared form (published)",
        factory="latentbench.metrics.predicted_mean:LogMagnitudeR2",
    )
    yield MetricSpec(
        name="logmag_r2_var",
        summary="R² of the log-magnitude of the predicted mean, variance form",
        factory="latentbench.metrics.predicted_mean:LogMagnitudeR2Var",
    )
    yield MetricSpec(
        name="energy_score",
        summary="energy score of 32 samples of the model, in latent units",
        factory="latentbench.metrics.energy:EnergyScore",
    )
    yield MetricSpec(
        name="energy_skill",
        summary="1 - energy score / that of the same model without context",
        factory="latentbench.metrics.energy:EnergySkill",
    )
    yield MetricSpec(
        name="variogram_score",
        summary="variogram score of 32 samples: the dependence between dimensions, in latent units",
        factory="latentbench.metrics.variogram:VariogramScore",
    )
    yield MetricSpec(
        name="variogram_skill",
        summary="1 - variogram score / that of the same model without context",
        factory="latentbench.metrics.variogram:VariogramSkill",
    )
    yield MetricSpec(
        name="spread_skill",
        summary="variance of samples over squared error of their mean; 1: calibrated",
        factory="latentbench.metrics.energy:SpreadSkill",
    )
    yield MetricSpec(
        name="crps",
        summary="continuous ranked probability score, mean over dimensions, in latent units",
        factory="latentbench.metrics.crps:CRPS",
    )
    yield MetricSpec(
        name="crps_logmag",
        summary="CRPS of the log-magnitude, from 32 samples: the fair score of magnitude",
        factory="latentbench.metrics.crps:LogMagnitudeCRPS",
    )
    yield MetricSpec(
        name="crps_logmag_skill",
        summary="1 - crps_logmag / that of the baseline; 0: no better than the baseline",
        factory="latentbench.metrics.crps:LogMagnitudeSkill",
    )
    yield MetricSpec(
        name="pit_coverage_50",
        summary="share of targets in the central 50 % interval of their dimension; ideal 0.5",
        factory="latentbench.metrics.pit:PitCoverage50",
    )
    yield MetricSpec(
        name="pit_coverage_90",
        summary="share of targets in the central 90 % interval of their dimension; ideal 0.9",
        factory="latentbench.metrics.pit:PitCoverage90",
    )
    yield MetricSpec(
        name="phase0_ratio",
        summary="standardised squares left around the predicted mean, over those of one mean",
        factory="latentbench.metrics.predicted_mean:VarianceRatio",
    )
    yield MetricSpec(
        name="phase0_ratio_baseline",
        summary="the same of the baseline: permuted keys in the preset phase0",
        factory="latentbench.metrics.predicted_mean:BaselineVarianceRatio",
    )
