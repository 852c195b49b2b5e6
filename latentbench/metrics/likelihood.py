"""Negative log-likelihoods, and gains over the baseline and the controls."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from latentbench.metrics import columns as scores
from latentbench.metrics.metric import MeanMetric, Metric
from latentbench.metrics.statistics import Sums
from latentbench.metrics.units import NATS

__all__ = [
    "NLL",
    "BaselineNLL",
    "CapacityNLL",
    "ContextNLL",
    "DeltaNLL",
    "Gain",
    "InformationalR2",
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
    control = "unconditional"
    columns = MappingProxyType(
        {"nll_unconditional": scores.nll_unconditional, "nll_baseline": scores.nll_baseline}
    )


class ContextNLL(_MeanNLL):
    """The part of ΔNLL that is due to the context: against the same model without it."""

    name = "dnll_context"
    control = "unconditional"
    columns = MappingProxyType({"nll": scores.nll, "nll_unconditional": scores.nll_unconditional})


class Gain(MeanMetric):
    """What the context is worth: NLL without it minus NLL with it, nats per frame."""

    name = "gain"
    unit = NATS
    better = "higher"
    needs = ("log_prob",)
    control = "unconditional"
    columns = MappingProxyType({"nll_unconditional": scores.nll_unconditional, "nll": scores.nll})


class InformationalR2(Metric):
    r"""The gain as a coefficient of determination per dimension, :math:`1 - e^{-2G/D}`.

    Linfoot (1957, "An informational measure of correlation"). Of a Gaussian whose dimensions are
    independent and equally predictable it is their R². Gains of any D compare by it.
    """

    name = "r2i"
    better = "higher"
    needs = ("log_prob",)
    control = "unconditional"
    columns = MappingProxyType(
        {
            "nll_unconditional": scores.nll_unconditional,
            "nll": scores.nll,
            "dimensions": scores.dimensions,
        }
    )
    statistic = Sums(
        ("nll_unconditional", "nll", "dimensions"),
        lambda columns: [columns["nll_unconditional"] - columns["nll"], columns["dimensions"]],
        lambda _n, gain, dimensions: -np.expm1(-2.0 * gain / dimensions),
    )


class XGain(_MeanNLL):
    """Mean of -log p(x_t | context) + log p(x_t): the gain on x_t (docs/metrics.md)."""

    name = "x_gain"
    control = "x_target"
    columns = MappingProxyType({"nll_x": scores.nll_x, "nll_x_baseline": scores.nll_x_baseline})
