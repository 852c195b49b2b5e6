"""The variogram score against the moments of folded normals, and naive loops."""

import math

import numpy as np
import pytest
import torch
from scipy.special import gamma, hyp1f1
from torch.distributions import Independent, MultivariateNormal, Normal

from latentbench.metrics import Prediction
from latentbench.metrics.metric import lacking
from latentbench.metrics.variogram import (
    MOST_PAIRS,
    VariogramScore,
    VariogramSkill,
    pairs_of,
    variogram,
    variogram_of_samples,
)
from latentbench.predictors.gaussian import SharedGaussian


def half_moment(mean, sigma):
    """E|N(mean, sigma^2)|^(1/2) (Winkelbauer 2014, eq. 17)."""
    scale = sigma**0.5 * 2**0.25 * gamma(0.75) / math.sqrt(math.pi)
    return scale * hyp1f1(-0.25, 0.5, -0.5 * (mean / sigma) ** 2)


def scored(model, target, unconditional=None):
    return variogram(Prediction(model, model, target, unconditional)).numpy()


def close(found, expected):
    return abs(found.mean() - expected) < 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("dim", [2, 5])
def test_of_samples_it_is_the_double_loop(dim):
    rng = np.random.default_rng(0)
    drawn, target = rng.normal(size=(6, 9, dim)), rng.normal(size=(6, dim))
    found = variogram_of_samples(torch.tensor(drawn), torch.tensor(target))
    for row in range(6):
        terms = []
        for i in range(dim):
            for j in range(i):
                of_samples = np.abs(drawn[row, :, i] - drawn[row, :, j]) ** 0.5
                true = abs(target[row, i] - target[row, j]) ** 0.5
                terms.append((true - of_samples.mean()) ** 2 - of_samples.var(ddof=1) / 9)
        assert float(found[row]) == pytest.approx(np.mean(terms), rel=1e-6)


@pytest.mark.parametrize(("dim", "sigma"), [(2, 1.0), (8, 0.3), (40, 2.0)])
def test_a_normal_vector_against_itself_scores_the_variance_of_a_root(dim, sigma):
    # Var |d|^(1/2) of d ~ N(0, 2 sigma^2): E|d| less the square of E|d|^(1/2).
    torch.manual_seed(0)
    rows = 6_000
    zeros = torch.zeros(rows, dim)
    model = Independent(Normal(zeros, sigma), 1)
    apart = math.sqrt(2) * sigma
    expected = apart * math.sqrt(2 / math.pi) - half_moment(0.0, apart) ** 2
    assert close(scored(model, sigma * torch.randn(rows, dim)), expected)


def test_a_gaussian_of_other_mean_and_spread_scores_its_closed_form():
    torch.manual_seed(1)
    rows = 8_000
    mean, sigma = torch.tensor([0.5, -0.7, 1.1]), torch.tensor([0.4, 1.0, 1.6])
    model = Independent(Normal(mean.expand(rows, 3), sigma.expand(rows, 3)), 1)
    expected = []
    for i, j in zip(*pairs_of(3), strict=True):
        told = half_moment(float(mean[i] - mean[j]), math.hypot(sigma[i], sigma[j]))
        apart = math.sqrt(2)  # of targets from N(0, I)
        first, second = half_moment(0.0, apart), apart * math.sqrt(2 / math.pi)
        expected.append(second - 2 * first * told + told**2)
    assert close(scored(model, torch.randn(rows, 3)), np.mean(expected))


@pytest.mark.parametrize("r2", [0.0, 0.5, 0.9])
def test_the_skill_of_a_gaussian_is_its_closed_form(r2):
    # Given c the pair differs by N(sqrt(r2) dc, 2 (1 - r2)): the score is the mean variance of its
    # root, whose mean over dc ~ N(0, 2) is taken by quadrature.
    torch.manual_seed(2)
    rows, dim = 8_000, 4
    context = torch.randn(rows, dim)
    target = r2**0.5 * context + (1 - r2) ** 0.5 * torch.randn(rows, dim)
    model = Independent(Normal(r2**0.5 * context, (1 - r2) ** 0.5), 1)
    control = Independent(Normal(torch.zeros(1, dim), 1.0), 1)
    metric = VariogramSkill()
    prediction = Prediction(model, control, target, control)
    columns = {name: column(prediction).numpy() for name, column in metric.columns.items()}
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    apart = math.sqrt(2 * (1 - r2))
    squares = half_moment(math.sqrt(2 * r2) * nodes, apart) ** 2
    first = math.sqrt(2) * math.sqrt(2 / math.pi)
    ours = first - weights @ squares / weights.sum()
    theirs = first - half_moment(0.0, math.sqrt(2)) ** 2
    assert metric.statistic.of(columns) == pytest.approx(1 - ours / theirs, abs=0.01)


def test_it_tells_wrong_dependence():
    torch.manual_seed(3)
    rows, dim = 4_000, 6
    covariance = 0.8 * torch.ones(dim, dim) + 0.2 * torch.eye(dim)
    target = MultivariateNormal(torch.zeros(dim), covariance).sample((rows,))
    factor = torch.linalg.cholesky(covariance.double())
    truth = SharedGaussian.from_factor(torch.zeros(rows, dim).double(), factor)
    apart = Independent(Normal(torch.zeros(rows, dim), torch.ones(rows, dim)), 1)
    away = scored(apart, target) - scored(truth, target)
    assert away.mean() > 4 * away.std() / math.sqrt(rows)


def test_above_32_dimensions_as_many_pairs_are_drawn_once():
    assert len(pairs_of(32)[0]) == MOST_PAIRS
    first, second = pairs_of(100)
    assert len(set(zip(first, second, strict=True))) == MOST_PAIRS
    assert all(i < j < 100 for i, j in zip(first, second, strict=True))
    assert set(first) | set(second) == set(range(100))


def test_one_dimension_has_no_pairs_and_the_reason_says_so():
    reason = "it needs 2 dimensions, and frames have 1"
    assert lacking(VariogramScore(), "exact", (), 1) == reason
    assert lacking(VariogramScore(), "samples", (), 2) == ""


def test_a_diverged_frame_is_not_averaged_away():
    drawn = torch.randn(3, 8, 4)
    drawn[1, 0, 0] = torch.nan
    found = variogram_of_samples(drawn, torch.randn(3, 4)).numpy()
    np.testing.assert_array_equal(np.isnan(found), [False, True, False])
