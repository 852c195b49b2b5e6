import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from latentbench.predictors.mixture import DiagonalGaussianMixture, StudentMixture


def parts(batch=4, components=3, dim=5):
    torch.manual_seed(0)
    shape = (batch, components, dim)
    return torch.randn(batch, components), torch.randn(shape), 0.5 * torch.randn(shape)


DEGREES = torch.tensor([2.5, 4.0, 30.0])


def test_log_density_is_scipys():
    logits, means, log_sigmas = parts()
    value = 3 * torch.randn(7, 4, 5)
    found = StudentMixture(logits, means, log_sigmas, DEGREES).log_prob(value)
    weights = logits.double().log_softmax(-1).numpy()
    expected = np.empty((7, 4))
    for row in range(4):
        components = [
            weights[row, i]
            + stats.multivariate_t.logpdf(
                value[:, row].double().numpy(),
                means[row, i].double().numpy(),
                log_sigmas[row, i].double().exp().square().diag().numpy(),
                df=float(DEGREES[i]),
            )
            for i in range(3)
        ]
        expected[:, row] = logsumexp(np.stack(components), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradients_are_those_of_finite_differences():
    logits, means, log_sigmas = parts(2, 2, 3)
    degrees = torch.tensor([3.0, 9.0])
    value = torch.randn(2, 3)
    inputs = [t.clone().requires_grad_() for t in (logits, means, log_sigmas, degrees)]
    StudentMixture(*inputs).log_prob(value).sum().backward()
    direction = [torch.randn_like(t) for t in inputs]
    ends = [
        StudentMixture(
            *(t.detach() + sign * 1e-2 * d for t, d in zip(inputs, direction, strict=True))
        )
        .log_prob(value)
        .double()
        .sum()
        for sign in (1, -1)
    ]
    slope = sum((t.grad * d).sum() for t, d in zip(inputs, direction, strict=True))
    assert slope.item() == pytest.approx((ends[0] - ends[1]).item() / 2e-2, rel=5e-3)


def test_many_degrees_are_a_gaussian():
    logits, means, log_sigmas = parts()
    value = torch.randn(4, 5)
    found = StudentMixture(logits, means, log_sigmas, torch.full((3,), 1e7)).log_prob(value)
    expected = DiagonalGaussianMixture(logits, means, log_sigmas).log_prob(value)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_samples_are_t_distributed_with_the_mean_of_the_mixture():
    logits, means, log_sigmas = parts(2, 1, 3)
    density = StudentMixture(logits, means, log_sigmas, torch.tensor([5.0]))
    torch.testing.assert_close(density.mean, means[:, 0])
    torch.manual_seed(1)
    draws = density.sample((4000,))
    assert draws.shape == (4000, 2, 3)
    scaled = (draws - means[:, 0]) / log_sigmas[:, 0].exp()
    for dim in range(3):
        assert stats.kstest(scaled[:, 0, dim], stats.t(5).cdf).pvalue > 1e-6
    # One chi-square for all dimensions: |z|^2 / D is F(D, nu), which independent ones are not.
    ratio = scaled[:, 1].square().mean(-1)
    assert stats.kstest(ratio, stats.f(3, 5).cdf).pvalue > 1e-6


def test_samples_choose_components_by_weight():
    logits = torch.tensor([[0.0, np.log(3.0)]])
    means = torch.tensor([[[-100.0, -100.0], [100.0, 100.0]]])
    density = StudentMixture(logits, means, torch.zeros(1, 2, 2), torch.tensor([50.0, 50.0]))
    torch.manual_seed(2)
    signs = density.sample((4000,)).sign()[:, 0]
    assert torch.equal(signs[:, 0], signs[:, 1])
    share = (signs[:, 0] > 0).double().mean().item()
    assert share == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)


def test_log_sigma_is_clamped():
    logits, means, log_sigmas = parts()
    bounds = (-0.1, 0.2)
    found = StudentMixture(logits, means, log_sigmas, DEGREES, bounds)
    assert torch.equal(found.component_log_sigmas, log_sigmas.clamp(*bounds))
