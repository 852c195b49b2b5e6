"""Every metric against numpy or scipy on the whole at once."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance
from torch.distributions import Independent, Normal

from latentbench.metrics import Prediction
from latentbench.metrics.crps import CRPS, LogMagnitudeCRPS, LogMagnitudeSkill
from latentbench.metrics.energy import EnergyScore, EnergySkill, SpreadSkill
from latentbench.metrics.likelihood import (
    NLL,
    BaselineNLL,
    CapacityNLL,
    ContextNLL,
    DeltaNLL,
    Gain,
    InformationalR2,
    XGain,
)
from latentbench.metrics.metric import merge_columns
from latentbench.metrics.pit import PitCoverage50, PitCoverage90
from latentbench.metrics.predicted_mean import (
    BaselineVarianceRatio,
    DirectionCosine,
    LogMagnitudeR2,
    LogMagnitudeR2Var,
    VarianceRatio,
)
from latentbench.metrics.variogram import VariogramScore, VariogramSkill
from latentbench.plugins import load_registry
from latentbench.specs import NoOptions

ALL = (NLL, BaselineNLL, DeltaNLL, DirectionCosine, LogMagnitudeR2, LogMagnitudeR2Var)
# Tested in files of their own.
OTHERS = (
    BaselineVarianceRatio,
    VarianceRatio,
    EnergySkill,
    Gain,
    InformationalR2,
    SpreadSkill,
    CapacityNLL,
    ContextNLL,
    XGain,
    EnergyScore,
    CRPS,
    LogMagnitudeCRPS,
    LogMagnitudeSkill,
    PitCoverage50,
    PitCoverage90,
    VariogramScore,
    VariogramSkill,
)


def columns(n=4_001, seed=0):
    rng = np.random.default_rng(seed)
    log_norm = rng.normal(3.0, 0.2, n)
    return {
        "nll": rng.normal(1_100.0, 300.0, n) * rng.lognormal(0, 2, n),
        "nll_baseline": rng.normal(1_260.0, 50.0, n),
        "cosine": rng.uniform(-1, 1, n),
        "log_norm": log_norm,
        "log_norm_mean": 0.3 * log_norm + rng.normal(0.5, 0.1, n),
    }


def whole(name, c):
    """The definition, by numpy or scipy, on all frames at once."""
    residual = c["log_norm"] - c["log_norm_mean"]
    return {
        "nll": lambda: stats.describe(c["nll"]).mean,
        "nll_baseline": lambda: stats.describe(c["nll_baseline"]).mean,
        "dnll": lambda: np.mean(c["nll"]) - np.mean(c["nll_baseline"]),
        "direction_cos": lambda: np.mean(c["cosine"]),
        "logmag_r2": lambda: (
            1 - np.sum(residual**2) / np.sum((c["log_norm"] - c["log_norm"].mean()) ** 2)
        ),
        "logmag_r2_var": lambda: 1 - stats.tvar(residual) / stats.tvar(c["log_norm"]),
    }[name]()


def figure(cls, c):
    return cls().statistic.of(c)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_a_figure_is_its_definition(cls):
    c = columns()
    assert figure(cls, c) == pytest.approx(whole(cls.name, c), rel=1e-12)


@pytest.mark.parametrize("cls", [LogMagnitudeR2, LogMagnitudeR2Var], ids=lambda cls: cls.name)
def test_a_spread_far_from_zero_loses_no_digits(cls):
    # E[m²] - E[m]² would keep no digit here: the spread is 1e-16 of the square of the mean.
    c = columns()
    far = {name: c[name] + 2.0**26 for name in ("log_norm", "log_norm_mean")}
    exact = whole(cls.name, {n: v - 2.0**26 for n, v in far.items()})
    assert figure(cls, far) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_no_frames_give_no_figure(cls):
    assert np.isnan(figure(cls, {name: values[:0] for name, values in columns().items()}))


@pytest.mark.parametrize("cls", [LogMagnitudeR2, LogMagnitudeR2Var], ids=lambda cls: cls.name)
def test_magnitude_that_never_varies_has_no_r2(cls):
    c = {"log_norm": np.full(7, np.log(1e-8)), "log_norm_mean": np.arange(7.0)}
    assert np.isnan(figure(cls, c))


@pytest.mark.parametrize(
    ("nll", "expected"),
    [([1.0, np.inf], np.inf), ([np.inf, 1.0, np.inf], np.inf), ([1.0, np.nan], np.nan)],
)
def test_infinite_frames_are_not_averaged_away(nll, expected):
    c = {"nll": np.array(nll), "nll_baseline": np.ones(len(nll))}
    for cls in (NLL, DeltaNLL):
        np.testing.assert_equal(figure(cls, c), expected)


def test_a_diverged_mean_makes_r2_infinitely_bad():
    c = {"log_norm": np.array([1.0, 2.0, 3.0]), "log_norm_mean": np.array([1.0, np.inf, 3.0])}
    assert figure(LogMagnitudeR2, c) == -np.inf
    assert np.isnan(figure(LogMagnitudeR2Var, c))


def prediction(n=5, dim=7, seed=0):
    rng = np.random.default_rng(seed)
    mean, sigma, target, base = (rng.normal(size=(n, dim)).astype(np.float32) for _ in range(4))
    sigma = np.exp(sigma)
    model = Independent(Normal(torch.tensor(mean), torch.tensor(sigma)), 1)
    baseline = Independent(Normal(torch.tensor(base[:1]), torch.ones(1, dim)), 1)
    return Prediction(model, baseline, torch.tensor(target)), mean, sigma, target, base[0]


def test_columns_are_those_of_scipy():
    p, mean, sigma, target, base = prediction()
    found = {name: column(p) for name, column in merge_columns(c(NoOptions()) for c in ALL).items()}
    expected = {
        "nll": -stats.norm.logpdf(target, mean, sigma).sum(1),
        "nll_baseline": -stats.norm.logpdf(target, base, 1.0).sum(1),
        "cosine": [1 - cosine_distance(a, b) for a, b in zip(mean, target, strict=True)],
        "log_norm": np.log(np.linalg.norm(target, axis=1)),
        "log_norm_mean": np.log(np.linalg.norm(mean, axis=1)),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == torch.float64
        np.testing.assert_allclose(found[name].numpy(), values, rtol=2e-6, atol=1e-6)


def test_vectors_without_length_have_floored_norms():
    zero = torch.zeros(2, 4)
    tiny = torch.full((2, 4), 0.5e-8)  # norm 1e-8, where the floor begins
    model = Independent(Normal(zero, torch.ones(2, 4)), 1)
    found = {
        name: column(Prediction(model, model, tiny)).numpy()
        for name, column in merge_columns(c(NoOptions()) for c in ALL).items()
    }
    np.testing.assert_array_equal(found["cosine"], 0.0)
    np.testing.assert_allclose(found["log_norm"], np.log(1e-8), rtol=1e-7)
    np.testing.assert_allclose(found["log_norm_mean"], np.log(1e-8), rtol=1e-12)


def test_norms_beyond_the_range_of_float32_squares_are_finite():
    huge = torch.full((1, 4), 1e30)
    model = Independent(Normal(huge, torch.ones(1, 4)), 1)
    p = Prediction(model, model, huge)
    assert DirectionCosine.columns["cosine"](p).item() == pytest.approx(1.0)
    assert LogMagnitudeR2.columns["log_norm"](p).item() == pytest.approx(np.log(2e30))


def test_the_registry_lists_every_metric_by_the_name_its_class_says():
    registry = load_registry()
    found = {
        component.spec.name: component.create(component.spec.options())
        for component in registry.of_kind("metric")
        if component.provider.distribution == "latentbench"
    }
    assert {name: type(metric) for name, metric in found.items()} == {
        c.name: c for c in (*ALL, *OTHERS)
    }
    assert {metric.better for metric in found.values()} == {"lower", "higher", "nominal"}
    assert {n for n, m in found.items() if m.unit == "nats/frame"} == {
        "nll",
        "nll_baseline",
        "dnll",
        "dnll_capacity",
        "dnll_context",
        "gain",
        "x_gain",
    }


def test_figures_are_computed_without_loading_torch():
    program = (
        "import sys, latentbench.metrics.plugin\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "import latentbench.metrics.predicted_mean, latentbench.metrics.likelihood\n"
        "import latentbench.rollout.figures\n"
        "import latentbench.metrics.energy, latentbench.metrics.crps, latentbench.metrics.pit\n"
        "import latentbench.metrics.variogram\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
