"""The CRPS against closed forms, numerical integration and naive double loops."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
)

from latentbench.metrics import Prediction, draws
from latentbench.metrics.crps import (
    CRPS,
    LogMagnitudeCRPS,
    LogMagnitudeSkill,
    crps,
    crps_logmag,
    crps_logmag_baseline,
    crps_of_mixtures,
    crps_of_samples,
)
from latentbench.metrics.draws import draw_blocks
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture


def normal_crps(mu, sigma, y):
    """Gneiting et al. 2005, eq. 5."""
    z = (y - mu) / sigma
    return sigma * (
        z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi)
    )


def parts(rows=3, components=4, dim=2, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(components), rows)
    means = 3 * rng.normal(size=(rows, components, dim))
    sigmas = rng.lognormal(0, 1, (rows, components, dim))
    return weights, means, sigmas, 3 * rng.normal(size=(rows, dim))


def predicted(model, target, baseline=None):
    rows, dim = target.shape
    return Prediction(model, baseline or normal(rows, dim), target)


def normal(rows, dim, sigma=1.0):
    return Independent(Normal(torch.zeros(rows, dim), torch.full((rows, dim), sigma)), 1)


def test_one_component_is_the_formula_of_the_normal_distribution():
    _, means, sigmas, target = parts(rows=50, components=1, dim=3)
    found = crps_of_mixtures(
        torch.ones(50, 1), torch.tensor(means), torch.tensor(sigmas), torch.tensor(target)
    )
    expected = normal_crps(means[:, 0], sigmas[:, 0], target)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_mixture_is_the_integral_of_its_squared_distance_from_the_step():
    weights, means, sigmas, target = parts()
    found = crps_of_mixtures(*map(torch.tensor, (weights, means, sigmas, target)))
    for b, d in np.ndindex(target.shape):
        y = target[b, d]

        def cdf(x, b=b, d=d):
            return weights[b] @ stats.norm.cdf(x, means[b, :, d], sigmas[b, :, d])

        edges = {"epsabs": 1e-11, "epsrel": 1e-11, "limit": 400}
        below = integrate.quad(lambda x: cdf(x) ** 2, -80, y, **edges)[0]
        above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, 80, **edges)[0]
        assert found[b, d].item() == pytest.approx(below + above, rel=1e-8)


def test_equal_components_are_one():
    _, means, sigmas, target = parts(rows=5, components=1)
    weights = np.tile([0.2, 0.5, 0.3], (5, 1))
    thrice = [np.repeat(v, 3, axis=1) for v in (means, sigmas)]
    found = crps_of_mixtures(*map(torch.tensor, (weights, *thrice, target)))
    np.testing.assert_allclose(
        found.numpy(), normal_crps(means[:, 0], sigmas[:, 0], target), rtol=1e-10
    )


def test_a_component_without_width_is_a_point():
    found = crps_of_mixtures(
        torch.ones(1, 1),
        torch.tensor([[[2.0, 2.0]]]),
        torch.zeros(1, 1, 2),
        torch.tensor([[5.0, 2.0]]),
    )
    assert found.tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize("samples", [2, 7, 32])
def test_of_samples_it_is_the_double_loop(samples):
    rng = np.random.default_rng(0)
    drawn, target = rng.normal(size=(5, samples, 3)) + 1e6, rng.normal(size=(5, 3)) + 1e6
    found = crps_of_samples(torch.tensor(drawn), torch.tensor(target)).numpy()
    for b, d in np.ndindex(target.shape):
        x = drawn[b, :, d]
        pairs = sum(abs(x[i] - x[j]) for i in range(samples) for j in range(samples) if i != j)
        expected = np.abs(x - target[b, d]).mean() - 0.5 * pairs / (samples * (samples - 1))
        assert found[b, d] == pytest.approx(expected, abs=1e-8)


def test_every_gaussian_family_is_scored_in_closed_form():
    torch.manual_seed(0)
    target, mean, sigma = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6, 3) + 0.5
    expected = normal_crps(*(v.double().numpy() for v in (mean, sigma, target))).mean(-1)
    components = Independent(Normal(mean[:, None].expand(6, 2, 3), sigma[:, None]), 1)
    models = {
        "own mixture": DiagonalGaussianMixture(
            torch.zeros(6, 2), mean[:, None].expand(6, 2, 3), sigma.log()[:, None].expand(6, 2, 3)
        ),
        "Independent(Normal)": Independent(Normal(mean, sigma), 1),
        "MixtureSameFamily": MixtureSameFamily(Categorical(logits=torch.zeros(6, 2)), components),
        "MultivariateNormal": MultivariateNormal(mean, torch.diag_embed(sigma.square())),
    }
    for name, model in models.items():
        found = crps(predicted(model, target))
        assert found.dtype == torch.float64, name
        np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6, err_msg=name)
    marginal = SharedGaussian(mean[0].double().expand(6, -1), sigma[0].double().square())
    expected = normal_crps(mean[0].numpy(), sigma[0].numpy(), target.numpy()).mean(-1)
    np.testing.assert_allclose(crps(predicted(marginal, target)).numpy(), expected, rtol=2e-6)


def test_a_correlated_gaussian_is_scored_by_its_marginals():
    covariance = torch.tensor([[4.0, 1.5], [1.5, 1.0]])
    target = torch.randn(7, 2)
    model = MultivariateNormal(torch.zeros(7, 2), covariance)
    expected = normal_crps(0.0, np.array([2.0, 1.0]), target.double().numpy()).mean(-1)
    np.testing.assert_allclose(crps(predicted(model, target)).numpy(), expected, rtol=1e-6)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    torch.manual_seed(0)
    model = DiagonalGaussianMixture(torch.randn(9, 2), torch.randn(9, 2, 3), torch.randn(9, 2, 3))
    prediction = predicted(model, torch.randn(9, 3))
    whole = [column(prediction) for column in (crps, crps_logmag)]
    monkeypatch.setitem(draws.BLOCK_VALUES, "cpu", 1)
    for before, column in zip(whole, (crps, crps_logmag), strict=True):
        torch.testing.assert_close(column(prediction), before, rtol=1e-12, atol=0)


def test_other_densities_are_scored_by_samples_without_bias():
    torch.manual_seed(0)
    rows = 3_000
    target = torch.linspace(-3, 3, rows)[:, None]
    model = Independent(StudentT(torch.full((rows, 1), 3.0)), 1)
    found = crps(predicted(model, target)).numpy()
    exact = stats.t(3)

    def integral(y):
        below = integrate.quad(lambda x: exact.cdf(x) ** 2, -np.inf, y)[0]
        return below + integrate.quad(lambda x: exact.sf(x) ** 2, y, np.inf)[0]

    grid = np.linspace(-3, 3, 61)
    expected = np.interp(target[:, 0].numpy(), grid, [integral(y) for y in grid])
    apart = found - expected
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(rows) + 1e-3


def test_log_magnitude_of_a_normal_vector_scores_the_integral_over_its_law():
    torch.manual_seed(0)
    rows, dim, sigma = 4_000, 6, 2.5
    target = 1.7 * torch.randn(rows, dim)
    found = crps_logmag(predicted(normal(rows, dim, sigma), target)).numpy()
    law = stats.chi(dim, scale=sigma)
    grid = np.linspace(-6, 4, 20_001)
    cdf = law.cdf(np.exp(grid))
    m = np.log(np.linalg.norm(target.double().numpy(), axis=1))
    below = integrate.cumulative_trapezoid(cdf**2, grid, initial=0.0)
    above = integrate.cumulative_trapezoid((1 - cdf) ** 2, grid, initial=0.0)
    expected = np.interp(m, grid, below + above[-1] - above)
    apart = found - expected
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(rows)
    assert found.mean() == pytest.approx(expected.mean(), rel=0.05)


def test_log_magnitudes_are_those_of_the_same_draws():
    torch.manual_seed(0)
    target = torch.randn(4, 5)
    target[2] = 0.0
    model = normal(4, 5, 0.5)
    (_, drawn), *rest = draw_blocks(model, target)
    assert not rest
    sizes = np.log(np.maximum(np.linalg.norm(drawn.double().numpy(), axis=-1), 1e-8))
    m = np.log(np.maximum(np.linalg.norm(target.double().numpy(), axis=-1), 1e-8))
    assert m[2] == np.log(1e-8)
    expected = crps_of_samples(torch.tensor(sizes), torch.tensor(m))
    torch.testing.assert_close(crps_logmag(predicted(model, target)), expected)


def test_the_baseline_is_scored_by_the_same_numbers():
    torch.manual_seed(0)
    target = torch.randn(20, 5)
    prediction = predicted(normal(20, 5), target, baseline=normal(1, 5))
    torch.testing.assert_close(
        crps_logmag(prediction), crps_logmag_baseline(prediction), rtol=0, atol=0
    )


def test_skill_is_one_minus_the_ratio_of_the_sums():
    rng = np.random.default_rng(0)
    model, baseline = rng.uniform(0, 1, 100), rng.uniform(1, 2, 100)
    columns = {"crps_logmag": model, "crps_logmag_baseline": baseline}
    found = LogMagnitudeSkill.statistic.of(columns)
    assert found == pytest.approx(1 - model.mean() / baseline.mean(), rel=1e-12)


def test_a_model_that_knows_the_magnitude_has_skill_where_the_r2_of_the_mean_has_none():
    torch.manual_seed(0)
    size = torch.rand(2_000, 1) + 0.2
    target = size * torch.randn(2_000, 4)
    model = Independent(Normal(torch.zeros(2_000, 4), size.expand(2_000, 4)), 1)
    baseline = normal(1, 4, float(target.std()))
    prediction = predicted(model, target, baseline)
    same = predicted(normal(2_000, 4, float(target.std())), target, baseline)
    found, useless = (
        LogMagnitudeSkill.statistic.of(
            {name: column(one).numpy() for name, column in LogMagnitudeSkill.columns.items()}
        )
        for one in (prediction, same)
    )
    assert 0.1 < found < 1.0
    assert useless == pytest.approx(0.0, abs=1e-6)


def test_a_baseline_without_fault_leaves_no_skill_to_have():
    columns = {"crps_logmag": np.ones(3), "crps_logmag_baseline": np.zeros(3)}
    assert math.isnan(LogMagnitudeSkill.statistic.of(columns))


@pytest.mark.parametrize("cls", [CRPS, LogMagnitudeCRPS])
def test_the_figure_is_the_mean_of_the_column(cls):
    values = np.random.default_rng(0).normal(size=1_000)
    found = cls().statistic.of({cls.name: values})
    assert found == pytest.approx(values.mean(), rel=1e-12)


def test_a_diverged_frame_is_nan_and_the_others_are_not():
    log_sigmas = torch.zeros(3, 2, 2)
    log_sigmas[1, 0, 1] = torch.nan
    model = DiagonalGaussianMixture(torch.zeros(3, 2), torch.zeros(3, 2, 2), log_sigmas)
    found = crps(predicted(model, torch.randn(3, 2)))
    assert found.isnan().tolist() == [False, True, False]
