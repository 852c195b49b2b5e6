import numpy as np
import pytest
import torch
from scipy import stats

from latentbench.predictors.gaussian import SharedGaussian, positive_definite_factor

FLOORS = {"floor": 1e-6, "eigenvalue_floor": 1e-6}


def covariance(dim, seed=0):
    root = torch.randn(dim, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.mT / dim + 0.1 * torch.eye(dim, dtype=torch.float64)


@pytest.mark.parametrize("full", [True, False])
def test_log_density_moments_and_shapes_are_scipys(full):
    torch.manual_seed(0)
    spread = covariance(4) if full else covariance(4).diagonal().diag()
    factor = torch.linalg.cholesky(spread) if full else spread.diagonal().sqrt()
    mean = torch.randn(3, 4, dtype=torch.float64)
    density = SharedGaussian.from_factor(mean, factor)
    value = torch.randn(5, 3, 4)
    expected = [
        stats.multivariate_normal.logpdf(value[:, i].numpy().astype(float), mean[i], spread)
        for i in range(3)
    ]
    np.testing.assert_allclose(density.log_prob(value).mT, expected, rtol=1e-12)
    assert density.log_prob(value[0]).dtype == torch.float64
    assert (density.batch_shape, density.event_shape) == ((3,), (4,))
    torch.testing.assert_close(density.variance, spread.diagonal().float().expand(3, 4))
    count = 40_000
    draws = density.sample((count,)).double()
    assert draws.shape == (count, 3, 4)
    error = (draws.mean(0) - mean) / (spread.diagonal() / count).sqrt()
    assert error.abs().max() < 5  # standard errors
    found = torch.cov(draws[:, 1].mT)
    scale = torch.outer(spread.diagonal(), spread.diagonal()).sqrt()
    assert ((found - spread) / scale).abs().max() < 5 * (2 / count) ** 0.5


def test_a_sound_covariance_is_factored_as_it_is():
    factor, widened = positive_definite_factor(covariance(6), **FLOORS)
    assert widened == 0
    torch.testing.assert_close(factor @ factor.mT, covariance(6), rtol=1e-12, atol=1e-12)


def test_a_constant_dimension_has_the_floor_and_no_correlation():
    spread = covariance(4)
    spread[2] = spread[:, 2] = 1e-12
    factor, widened = positive_definite_factor(spread, **FLOORS)
    found = factor @ factor.mT
    assert widened == 1
    assert found[2, 2].item() == pytest.approx(1e-6)
    assert found[2, [0, 1, 3]].abs().max() < 1e-15
    keep = torch.tensor([0, 1, 3])
    torch.testing.assert_close(found[keep][:, keep], spread[keep][:, keep])


@pytest.mark.parametrize("units", [1.0, 1e4])
def test_a_repeated_dimension_is_widened_by_the_rule_whatever_its_units(units):
    spread = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).double()
    scale = torch.tensor([1.0, units, 1.0]).double()
    factor, widened = positive_definite_factor(spread * torch.outer(scale, scale), **FLOORS)
    assert widened == 1
    found = factor @ factor.mT / torch.outer(scale, scale)
    # Correlation eigenvalues 2, 1, 0: the last becomes 2e-6.
    values = torch.linalg.eigvalsh(found)
    torch.testing.assert_close(values, torch.tensor([2e-6, 1.0, 2.0]).double(), rtol=1e-6, atol=0)


def test_the_rule_commutes_with_scaling():
    root = torch.randn(8, 3, dtype=torch.float64)
    spread = root @ root.mT  # rank 3
    scale = torch.logspace(-1, 2, 8, dtype=torch.float64)
    plain, widened = positive_definite_factor(spread, **FLOORS)
    scaled, again = positive_definite_factor(spread * torch.outer(scale, scale), **FLOORS)
    assert widened == again == 5
    torch.testing.assert_close(scaled, plain * scale[:, None], rtol=1e-6, atol=1e-9)
