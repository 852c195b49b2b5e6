"""Negative log-likelihoods, and gains over the baseline and the controls."""

from __future__ import annotations

from types import MappingProxyType

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import MeanMetric
from latentbench.metrics.units import NATS

__all__ = [
    "NLL",
    "BaselineNLL",
    "CapacityNLL",
    "ContextNLL",
    "DeltaNLL",
    "XGain",
]


class _MeanNLL(MeanMetric):
    """The mean of one column of nats, or of the first minus the second."""

    unit = NATS
    better = "lower"
    needs = ("log_prob",)


class NLL(_MeanNLL):
    """Mean of -log p(target | context), nats per frame."""

    name = "nll"
    columns = MappingProxyType({"nll": scores.nll})


class BaselineNLL(MeanMetric):
    """Mean of -log p(target) under the baseline, nats per frame."""

    name = "nll_baseline"
    unit = NATS
    better = "lower"
    columns = MappingProxyType({"nll_baseline": scores.nll_baseline})
    needs = ()


class DeltaNLL(_MeanNLL):
    """Mean of NLL minus baseline NLL, nats per frame; negative where the model is better."""

    name = "dnll"
    columns = MappingProxyType({"nll": scores.nll, "nll_baseline": scores.nll_baseline})


class CapacityNLL(_MeanNLL):
    """The part of ΔNLL that the same model gains without any context (docs/metrics.md)."""

    name = "dnll_capacity"
    columns = MappingProxyType(
        {"nll_unconditional": scores.nll_unconditional, "nll_baseline": scores.nll_baseline}
    )


class ContextNLL(_MeanNLL):
    """The part of ΔNLL that is due to the context: against the same model without it."""

    name = "dnll_context"
    columns = MappingProxyType({"nll": scores.nll, "nll_unconditional": scores.nll_unconditional})


class XGain(_MeanNLL):
    """Mean of -log p(x_t | context) + log p(x_t): the gain on x_t (docs/metrics.md)."""

    name = "x_gain"
    columns = MappingProxyType({"nll_x": scores.nll_x, "nll_x_baseline": scores.nll_x_baseline})
