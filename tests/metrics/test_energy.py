"""The energy score against naive double loops and the constants of the normal distribution."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, StudentT

from latentbench.metrics import Prediction
from latentbench.metrics.crps import crps_of_samples
from latentbench.metrics.energy import EnergyScore, energy, energy_of_samples
from latentbench.predictors.mixture import DiagonalGaussianMixture


def standard(rows, dim, sigma=1.0):
    return Independent(Normal(torch.zeros(rows, dim), torch.full((rows, dim), sigma)), 1)


def scored(model, target):
    return energy(Prediction(model, standard(1, target.shape[-1]), target)).numpy()


def by_hand(drawn, target):
    """The definition, one pair at a time."""
    count = len(drawn)
    miss = sum(np.linalg.norm(x - target) for x in drawn) / count
    pairs = [
        np.linalg.norm(drawn[i] - drawn[j]) for i in range(count) for j in range(count) if i != j
    ]
    return miss - 0.5 * sum(pairs) / len(pairs)


@pytest.mark.parametrize("dim", [1, 2, 17])
def test_of_samples_it_is_the_double_loop(dim):
    rng = np.random.default_rng(0)
    drawn, target = rng.normal(size=(6, 9, dim)), rng.normal(size=(6, dim))
    drawn[:, 1] = drawn[:, 0]
    found = energy_of_samples(torch.tensor(drawn), torch.tensor(target))
    expected = [by_hand(d, y) for d, y in zip(drawn, target, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)


def test_of_samples_far_from_zero_no_digit_is_lost():
    rng = np.random.default_rng(1)
    drawn, target = rng.normal(size=(3, 8, 4)), rng.normal(size=(3, 4))
    far = energy_of_samples(torch.tensor(drawn + 2.0**30), torch.tensor(target + 2.0**30))
    near = [by_hand(d, y) for d, y in zip(drawn, target, strict=True)]
    np.testing.assert_allclose(far.numpy(), near, rtol=1e-5)


def test_in_one_dimension_it_is_the_crps():
    torch.manual_seed(0)
    drawn, target = torch.randn(50, 32, 1), torch.randn(50, 1)
    torch.testing.assert_close(
        energy_of_samples(drawn, target), crps_of_samples(drawn, target)[:, 0], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("dim", [1, 2, 8, 64, 512])
def test_a_normal_vector_against_itself_scores_its_gamma_constant(dim):
    # E|X - Y| = sqrt(2) E|Z| and E|Z| = sqrt(2) G((D+1)/2) / G(D/2); the score is half of that.
    torch.manual_seed(dim)
    rows = 4_000 if dim < 512 else 500
    found = scored(standard(rows, dim), torch.randn(rows, dim))
    expected = math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(rows)


@pytest.mark.parametrize("components", [1, 3])
def test_the_score_of_a_mixture_is_that_of_independent_samples_of_it(components):
    rng = np.random.default_rng(0)
    rows, dim = 2_000, 3
    logits = rng.normal(size=components)
    means, log_sigmas = 2 * rng.normal(size=(2, components, dim))
    log_sigmas /= 4
    y = rng.normal(size=dim)
    target = torch.tensor(np.tile(y, (rows, 1)) + 1e-5 * rng.normal(size=(rows, 1))).float()
    model = DiagonalGaussianMixture(
        *(torch.tensor(v).float().expand(rows, *v.shape) for v in (logits, means, log_sigmas))
    )
    weights = np.exp(logits) / np.exp(logits).sum()

    def sample(count):
        chosen = rng.choice(components, count, p=weights)
        return means[chosen] + np.exp(log_sigmas[chosen]) * rng.normal(size=(count, dim))

    miss = np.linalg.norm(sample(400_000) - y, axis=1)
    apart = np.linalg.norm(sample(400_000) - sample(400_000), axis=1)
    found = scored(model, target)
    error = math.hypot(found.std() / math.sqrt(rows), (miss.std() + apart.std() / 2) / 632)
    assert abs(found.mean() - (miss.mean() - 0.5 * apart.mean())) < 4 * error


def test_the_true_density_scores_better_than_one_too_wide_too_narrow_or_aside():
    torch.manual_seed(0)
    target = torch.randn(3_000, 4)
    truth = scored(standard(3_000, 4), target)
    aside = Independent(Normal(torch.full((3_000, 4), 0.3), torch.ones(3_000, 4)), 1)
    for other in (standard(3_000, 4, 1.4), standard(3_000, 4, 0.7), aside):
        apart = scored(other, target) - truth
        assert apart.mean() > 4 * apart.std() / math.sqrt(3_000)


def test_any_density_that_can_be_sampled_has_a_score():
    torch.manual_seed(0)
    target = StudentT(4.0).sample((2_000, 3))
    model = Independent(StudentT(torch.full((2_000, 3), 4.0)), 1)
    found = scored(model, target)
    rng = np.random.default_rng(0)
    apart = np.linalg.norm(
        rng.standard_t(4, (100_000, 3)) - rng.standard_t(4, (100_000, 3)), axis=1
    )
    error = math.hypot(found.std() / math.sqrt(2_000), apart.std() / 632)
    assert abs(found.mean() - 0.5 * apart.mean()) < 4 * error


def test_a_diverged_frame_is_not_averaged_away():
    mean = torch.zeros(3, 2)
    mean[1] = torch.nan
    model = DiagonalGaussianMixture(torch.zeros(3, 1), mean[:, None], torch.zeros(3, 1, 2))
    found = scored(model, torch.randn(3, 2))
    np.testing.assert_array_equal(np.isnan(found), [False, True, False])
    assert math.isnan(EnergyScore().statistic.of({"energy_score": found}))
