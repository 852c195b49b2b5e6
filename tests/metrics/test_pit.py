"""Coverage of predicted intervals, for models that are calibrated and for models that are not."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Distribution, Independent, Normal, StudentT

from latentbench.metrics import Prediction
from latentbench.metrics.pit import PitCoverage50, PitCoverage90, inside_50, inside_90, pit
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.specs import NoOptions

ROWS, DIM = 4_000, 5


def predicted(model, target):
    return Prediction(model, model, target)


def normal(sigma):
    return Independent(Normal(torch.zeros(ROWS, DIM), torch.full((ROWS, DIM), sigma)), 1)


def mixture(rows=ROWS, components=3, dim=DIM, seed=0):
    torch.manual_seed(seed)
    return DiagonalGaussianMixture(
        torch.randn(rows, components),
        2 * torch.randn(rows, components, dim),
        0.5 * torch.randn(rows, components, dim),
    )


class Sampled(Distribution):
    """A density that tells nothing but samples."""

    def __init__(self, base):
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)
        self.sample = base.sample


def standard_error(share):
    return math.sqrt(share * (1 - share) / (ROWS * DIM))


def test_the_transform_is_the_cdf_of_scipy():
    model, target = mixture(rows=20), torch.randn(20, DIM)
    found = pit(predicted(model, target)).numpy()
    weights = model.weights.double().numpy()
    cdfs = stats.norm.cdf(
        target.double().numpy()[:, None],
        model.component_means.double().numpy(),
        model.component_log_sigmas.double().exp().numpy(),
    )
    np.testing.assert_allclose(found, np.einsum("bk,bkd->bd", weights, cdfs), atol=1e-6)


def test_the_transform_of_a_calibrated_mixture_is_uniform():
    model = mixture()
    target = model.sample()
    found = pit(predicted(model, target)).numpy()
    # Dimensions share their component, so frames are independent and dimensions are not.
    for d in range(DIM):
        assert stats.kstest(found[:, d], "uniform").pvalue > 0.001


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5])
def test_coverage_is_nominal_when_calibrated_and_off_by_the_known_amount_when_not(ratio):
    torch.manual_seed(0)
    prediction = predicted(normal(ratio), torch.randn(ROWS, DIM))
    for column, level in ((inside_50, 0.5), (inside_90, 0.9)):
        found = column(prediction)
        assert found.shape == (ROWS,)
        edge = stats.norm.ppf(0.5 + level / 2)
        expected = 2 * stats.norm.cdf(ratio * edge) - 1
        assert abs(found.mean().item() - expected) < 4 * standard_error(expected)


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_coverage_by_samples_is_nominal_when_calibrated_and_off_when_not(ratio):
    torch.manual_seed(0)
    target = StudentT(3.0).sample((ROWS, DIM))
    model = Independent(StudentT(torch.full((ROWS, DIM), 3.0), 0.0, ratio), 1)
    found = pit(predicted(model, target))
    assert 0 <= found.min() <= found.max() < 1
    uniform = stats.kstest(found.numpy().ravel(), "uniform").pvalue
    assert uniform > 0.001 if ratio == 1 else uniform < 1e-6
    for column, level in ((inside_50, 0.5), (inside_90, 0.9)):
        apart = column(predicted(model, target)).mean().item() - level
        if ratio == 1:
            assert abs(apart) < 4 * standard_error(level)
        else:
            assert apart > 0.03


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_coverage_by_samples_is_drawn_towards_the_nominal_one_as_far_as_is_said(ratio):
    """The share of ranks of Bin(S, F(y)) inside, integrated over y."""
    drawn, rank = 32, np.arange(33)
    y, share = np.linspace(-6, 6, 2_001), stats.norm.pdf(np.linspace(-6, 6, 2_001))
    ranks = stats.binom.pmf(rank, drawn, stats.norm.cdf(y / ratio).clip(1e-9, 1 - 1e-9)[:, None])
    torch.manual_seed(0)
    density = Sampled(normal(ratio))
    for column, level in ((inside_50, 0.5), (inside_90, 0.9)):
        edges = 0.5 - level / 2, 0.5 + level / 2
        upper = np.minimum(rank + 1, (drawn + 1) * edges[1])
        inside = (upper - np.maximum(rank, (drawn + 1) * edges[0])).clip(0)
        expected = np.average(ranks @ inside, weights=share)
        found = column(predicted(density, torch.randn(ROWS, DIM))).mean().item()
        assert abs(found - expected) < 4 * standard_error(expected)


def test_a_frame_without_a_density_is_not_counted_as_outside():
    for spoilt in ("logits", "component_means"):
        model = mixture(rows=3)
        getattr(model, spoilt)[1] = torch.nan
        found = inside_90(predicted(model, torch.randn(3, DIM)))
        assert found.isnan().tolist() == [False, True, False]
    mean = torch.zeros(3, DIM)
    mean[1] = torch.nan
    sampled = Independent(StudentT(torch.full((3, DIM), 3.0), mean, 1.0, validate_args=False), 1)
    found = inside_90(predicted(sampled, torch.randn(3, DIM)))
    assert found.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(("cls", "nominal"), [(PitCoverage50, 0.5), (PitCoverage90, 0.9)])
def test_the_figure_says_where_it_is_ideal(cls, nominal):
    metric = cls(NoOptions())
    assert (metric.better, metric.nominal) == ("nominal", nominal)
    (column,) = metric.columns
    values = np.random.default_rng(0).uniform(size=1_000)
    assert metric.statistic.of({column: values}) == pytest.approx(values.mean(), rel=1e-12)
