import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from latentbench.predictors.mixture import DiagonalGaussianMixture, StudentMixture
from latentbench.predictors.robust import AnchoredDensity
from latentbench.predictors.standardised import Rescaled

MEAN, SCALE = torch.tensor([3.0]).double(), torch.tensor([20.0]).double()


def learned(tails, batch=1):
    logits = torch.tensor([[0.0, 1.0]]).expand(batch, -1)
    means = torch.tensor([[[-1.0], [2.0]]]).expand(batch, -1, -1)
    log_sigmas = torch.tensor([[[-1.0], [-0.5]]]).expand(batch, -1, -1)
    if tails == "gaussian":
        return DiagonalGaussianMixture(logits, means, log_sigmas)
    return StudentMixture(logits, means, log_sigmas, torch.tensor([4.0, 6.0]))


def in_units(density):
    return Rescaled(density, MEAN, SCALE)


def line(tails, gate=-0.5):
    return in_units(AnchoredDensity(learned(tails), torch.tensor([gate]), 1e-3))


@pytest.mark.parametrize("tails", ["gaussian", "student-t"])
def test_the_density_integrates_to_one_and_its_mean_is_the_mean(tails):
    density = line(tails)

    def p(y):
        return density.log_prob(torch.tensor([[y]])).exp().item()

    points = [-40.0, 3.0, 43.0]
    total, _ = integrate.quad(p, -2e3, 2e3, points=points, limit=400)
    first, _ = integrate.quad(lambda y: y * p(y), -2e3, 2e3, points=points, limit=400)
    assert total == pytest.approx(1, abs=1e-4)  # float32 components, cut tails
    assert first == pytest.approx(density.mean.item(), abs=2e-2)


@pytest.mark.parametrize("tails", ["gaussian", "student-t"])
def test_samples_follow_the_density(tails):
    torch.manual_seed(0)
    density = line(tails)
    draws = density.sample((4000,)).flatten().numpy()
    grid = np.linspace(-600, 600, 20_001)
    values = density.log_prob(torch.from_numpy(grid).float()[:, None, None]).exp().flatten()
    cdf = np.cumsum(values.numpy()) * (grid[1] - grid[0])
    assert stats.kstest(draws, lambda y: np.interp(y, grid, cdf)).pvalue > 1e-6


def test_weights_are_those_of_the_formula():
    """A learned density far away leaves w times the Gaussian, and the other way round."""
    value = torch.tensor([[3.0]])
    gaussian = stats.norm.logpdf(3.0, 3.0, 20.0)
    for gate in (-50.0, -2.0, 0.0, 7.0):
        density = line("gaussian", gate)
        weight = 1e-3 + (1 - 1e-3) / (1 + math.exp(-gate))
        assert density.base.anchor_weight.item() == pytest.approx(weight, rel=1e-12)
        far = DiagonalGaussianMixture(
            torch.zeros(1, 1), torch.full((1, 1, 1), 1e3), torch.full((1, 1, 1), -3.0)
        )
        alone = in_units(AnchoredDensity(far, torch.tensor([gate]), 1e-3))
        assert alone.log_prob(value).item() == pytest.approx(math.log(weight) + gaussian, rel=1e-9)


def test_no_value_scores_worse_than_the_gaussian_by_more_than_the_cap():
    density = line("gaussian", gate=-80.0)
    values = torch.tensor([0.0, -1e3, 1e6, -1e15, 3e38])[:, None, None]
    gaussian = stats.norm.logpdf(values.numpy().astype(float), 3.0, 20.0)[..., 0]
    found = density.log_prob(values).numpy()
    assert np.isfinite(found).all()
    assert (found >= gaussian + math.log(1e-3) - 1e-9 * np.abs(gaussian)).all()


def test_gradients_are_those_of_finite_differences():
    logits = torch.tensor([[0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    means = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    log_sigmas = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    gate = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    inputs = (logits, means, log_sigmas, gate)
    value = torch.tensor([[0.25, -1.5, 2.0]])  # exact in float32

    def log_prob(logits, means, log_sigmas, gate):
        q = DiagonalGaussianMixture(logits, means, log_sigmas)
        return AnchoredDensity(q, gate, 1e-3).log_prob(value)

    assert torch.autograd.gradcheck(log_prob, inputs)
