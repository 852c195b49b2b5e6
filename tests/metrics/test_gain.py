"""Gain, R²_I and scores of samples, on Gaussians of a known explained share."""

import math

import pytest
import torch
from scipy.special import gammaln
from torch.distributions import Independent, Normal

from latentbench.metrics import Prediction
from latentbench.metrics.energy import EnergyScore, EnergySkill, SpreadSkill
from latentbench.metrics.likelihood import ContextNLL, Gain, InformationalR2
from latentbench.metrics.metric import merge_columns
from latentbench.specs import NoOptions

FRAMES = 20_000


def normal(mean, sigma):
    return Independent(Normal(mean, torch.full_like(mean, sigma)), 1)


def columns_of(metrics, r2, dim, *, sure=1.0, seed=0):
    """Targets N(0, 1) of which a share r2 is known; the model says sigma * `sure`."""
    generator = torch.Generator().manual_seed(seed)
    known, rest = torch.randn(2, FRAMES, dim, generator=generator)
    mean = math.sqrt(r2) * known
    prediction = Prediction(
        model=normal(mean, sure * math.sqrt(1 - r2)),
        baseline=normal(torch.zeros(1, dim), 1.0),
        target=mean + math.sqrt(1 - r2) * rest,
        unconditional=normal(torch.zeros(FRAMES, dim), 1.0),
    )
    return {name: one(prediction).numpy() for name, one in merge_columns(metrics).items()}


@pytest.mark.parametrize(("r2", "dim"), [(0.0, 3), (0.3, 1), (0.3, 16), (0.9, 4)])
def test_gain_and_r2_of_a_gaussian_are_those_of_its_explained_share(r2, dim):
    metrics = [one(NoOptions()) for one in (Gain, InformationalR2, ContextNLL)]
    columns = columns_of(metrics, r2, dim)
    gain, r2i, context = (one.statistic.of(columns) for one in metrics)
    # The variance of ln p - ln p0 in one dimension is r2 (1 + ...) <= 2; four standard errors.
    slack = 4 * math.sqrt(2 * dim / FRAMES)
    assert gain == pytest.approx(-0.5 * dim * math.log1p(-r2), abs=slack)
    assert r2i == pytest.approx(r2, abs=2 * slack / dim)
    assert gain == -context
    assert r2i == pytest.approx(1 - math.exp(-2 * gain / dim), rel=1e-12)


def test_r2_of_a_harmful_context_is_negative():
    metric = InformationalR2(NoOptions())
    columns = columns_of([metric], 0.0, 4, sure=0.5)
    # KL(N(0, 1) || N(0, ½²)) = ½ (4 - 1) - ln 2 in each dimension.
    loss = 1.5 - math.log(2)
    assert metric.statistic.of(columns) == pytest.approx(1 - math.exp(2 * loss), rel=0.1)


@pytest.mark.parametrize(("r2", "dim"), [(0.0, 3), (0.3, 16), (0.9, 4)])
def test_the_energy_skill_of_a_gaussian_is_its_closed_form(r2, dim):
    metrics = [EnergySkill(NoOptions()), EnergyScore(NoOptions())]
    skill, score = (one.statistic.of(columns_of(metrics, r2, dim)) for one in metrics)
    assert skill == pytest.approx(1 - math.sqrt(1 - r2), abs=0.01)
    expected = math.sqrt(1 - r2) * math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    assert score == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("sure", [0.0, 0.5, 1.0, 2.0])
def test_spread_over_skill_is_the_share_of_variance_that_a_model_admits(sure):
    metric = SpreadSkill(NoOptions())
    columns = columns_of([metric], 0.3, 8, sure=max(sure, 1e-12))
    samples = 32
    # The mean of S samples misses by the error of the true mean, and by 1/S of its own variance.
    expected = sure**2 * (1 + 1 / samples) / (1 + sure**2 / samples)
    assert metric.statistic.of(columns) == pytest.approx(expected, rel=0.02, abs=1e-12)
