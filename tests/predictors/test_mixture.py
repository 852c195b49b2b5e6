import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentbench.predictors.densities import most_likely_component
from latentbench.predictors.mixture import DiagonalGaussianMixture

BOUNDS = (-7.0, 2.0)


def parts(batch=5, components=8, dim=12, *, dtype=torch.float32, spread=4.0):
    make = torch.Generator().manual_seed(0)
    return [
        (spread * torch.randn(shape, generator=make, dtype=torch.float64)).to(dtype)
        for shape in ((batch, components), (batch, components, dim), (batch, components, dim))
    ]


def reference(logits, means, log_sigmas, bounds=BOUNDS):
    normal = Independent(Normal(means, log_sigmas.clamp(*bounds).exp()), 1)
    return MixtureSameFamily(Categorical(logits=logits), normal)


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


@pytest.mark.parametrize("shape", [(5, 8, 12), (1, 1, 1), (3, 2, 512)])
def test_log_density_and_all_gradients_agree_with_torch_distributions(shape):
    batch, components, dim = shape
    value = torch.randn(batch, dim, generator=torch.Generator().manual_seed(1))
    mine = [t.requires_grad_() for t in [*parts(batch, components, dim), value.clone()]]
    theirs = [t.detach().double().requires_grad_() for t in mine]
    found = DiagonalGaussianMixture(*mine[:3], BOUNDS).log_prob(mine[3])
    expected = reference(*theirs[:3]).log_prob(theirs[3])
    assert relative(found, expected) < 1e-5
    weights = torch.linspace(-1, 2, batch)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    for tensor, other in zip(mine, theirs, strict=True):
        if other.grad.abs().max() == 0:  # one component: nothing depends on its logit
            assert tensor.grad.abs().max() == 0
        else:
            assert relative(tensor.grad, other.grad) < 1e-5


def test_gradients_agree_with_finite_differences():
    inputs = [t.requires_grad_() for t in parts(3, 4, 2, dtype=torch.float64, spread=0.7)]
    value = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def log_prob(logits, means, log_sigmas, value):
        return DiagonalGaussianMixture(logits, means, log_sigmas, BOUNDS).log_prob(value)

    assert torch.autograd.gradcheck(log_prob, (*inputs, value))


@pytest.mark.parametrize("bounds", [(-7.0, 2.0), (-0.1, 0.3)])
def test_the_clamp_passes_gradients_inside_its_bounds_only(bounds):
    low, high = (torch.tensor(bound) for bound in bounds)
    infinity = torch.tensor(math.inf)
    inside = [low.nextafter(infinity), high.nextafter(-infinity), torch.tensor(0.05)]
    outside = [low.nextafter(-infinity), high.nextafter(infinity), torch.tensor(40.0)]
    at = [low, high]
    log_sigmas = torch.stack(inside + outside + at).view(1, 1, -1)
    mine, theirs = (log_sigmas.clone().requires_grad_() for _ in range(2))
    logits, means = torch.zeros(1, 1), torch.full((1, 1, 8), 0.4)
    value = torch.full((1, 8), 3.0)
    DiagonalGaussianMixture(logits, means, mine, bounds).log_prob(value).sum().backward()
    reference(logits, means, theirs, bounds).log_prob(value).sum().backward()
    torch.testing.assert_close(mine.grad[..., :6], theirs.grad[..., :6], rtol=1e-5, atol=0)
    assert (mine.grad[..., :3] != 0).all()
    assert mine.grad[..., 3:].tolist() == [[[0.0] * 5]]


def test_values_with_sample_dimensions_broadcast_and_their_gradients_are_summed():
    mine = [t.requires_grad_() for t in parts(4, 3, 2, spread=1.0)]
    theirs = [t.detach().clone().requires_grad_() for t in mine]
    value = torch.randn(7, 4, 2)
    found = DiagonalGaussianMixture(*mine, BOUNDS).log_prob(value)
    expected = reference(*theirs).log_prob(value)
    assert found.shape == (7, 4)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    for tensor, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(tensor.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_mean_and_variance_agree_with_torch_distributions():
    logits, means, log_sigmas = parts(spread=1.0)
    mixture = DiagonalGaussianMixture(logits, means, log_sigmas, BOUNDS)
    expected = reference(logits, means, log_sigmas)
    torch.testing.assert_close(mixture.mean, expected.mean)
    torch.testing.assert_close(mixture.variance, expected.variance)
    chosen = torch.stack([means[i, logits[i].argmax()] for i in range(len(logits))])
    assert torch.equal(most_likely_component(mixture), chosen)
    assert mixture.batch_shape == (5,)
    assert mixture.event_shape == (12,)


def test_samples_have_the_moments_of_the_mixture():
    torch.manual_seed(3)
    mixture = DiagonalGaussianMixture(*parts(2, 3, 2, spread=1.0), BOUNDS)
    count = 40_000
    draws = mixture.sample((count,))
    assert draws.shape == (count, 2, 2)
    error = (draws.mean(0) - mixture.mean) / (mixture.variance / count).sqrt()
    assert error.abs().max() < 5  # standard errors
    assert mixture.sample().shape == (2, 2)
    ratio = draws.double().var(0) / mixture.variance
    assert ((ratio - 1).abs() < 0.1).all()


def test_samples_stay_with_one_component_across_dimensions():
    means = torch.stack([torch.full((6,), -50.0), torch.full((6,), 50.0)]).unsqueeze(0)
    mixture = DiagonalGaussianMixture(torch.zeros(1, 2), means, torch.zeros(1, 2, 6))
    signs = mixture.sample((200,)).sign().squeeze(1)
    assert (signs == signs[:, :1]).all()
    assert 50 < (signs[:, 0] > 0).sum() < 150


def test_a_far_value_has_its_exact_density_and_finite_gradients():
    logits = torch.zeros(1, 2)
    means, log_sigmas = torch.zeros(1, 2, 3), torch.full((1, 2, 3), -9.0, requires_grad=True)
    log_prob = DiagonalGaussianMixture(logits, means, log_sigmas, BOUNDS).log_prob(
        torch.full((1, 3), 60.0)
    )
    exact = 3 * (-0.5 * 60.0**2 * math.exp(14.0) + 7.0 - 0.5 * math.log(2 * math.pi))
    assert exact < -1e9
    assert log_prob.item() == pytest.approx(exact, rel=1e-6)
    log_prob.sum().backward()
    assert log_sigmas.grad.abs().max() == 0  # beyond the clamp


@pytest.mark.parametrize("broken", [math.inf, -math.inf, math.nan])
def test_rows_that_are_not_finite_are_counted_and_leave_the_others_alone(broken):
    logits, means, log_sigmas = parts(3, 2, 4, spread=1.0)
    sound = DiagonalGaussianMixture(logits, means, log_sigmas, BOUNDS)
    value = torch.zeros(3, 4)
    expected = sound.log_prob(value)
    logits, means, log_sigmas = logits.clone(), means.clone(), log_sigmas.clone()
    for tensor in (logits, means, log_sigmas):
        tensor[1] = broken
    mixture = DiagonalGaussianMixture(logits, means, log_sigmas, BOUNDS)
    assert mixture.log_prob(value).isfinite().tolist() == [True, False, True]
    torch.testing.assert_close(mixture.log_prob(value)[[0, 2]], expected[[0, 2]])
    assert mixture.mean.isfinite().all(-1).tolist() == [True, False, True]
    assert mixture.sample((4,)).isfinite().all(-1).all(0).tolist() == [True, False, True]


def test_a_distance_beyond_float32_is_an_infinite_density():
    mixture = DiagonalGaussianMixture(*parts(1, 2, 2, spread=0.0), BOUNDS)
    assert mixture.log_prob(torch.full((1, 2), 1e30)).item() == -math.inf


def test_half_precision_arguments_are_computed_in_float32():
    halves = parts(4, 3, 64, dtype=torch.bfloat16, spread=1.0)
    value = torch.randn(4, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixture = DiagonalGaussianMixture(*halves, BOUNDS)
        log_prob, mean = mixture.log_prob(value), mixture.mean
    exact = reference(*(t.double() for t in halves))
    assert log_prob.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(log_prob.double(), exact.log_prob(value.double()), rtol=1e-5, atol=0)
    torch.testing.assert_close(mean.double(), exact.mean, rtol=1e-5, atol=1e-6)


def test_no_more_tensors_of_every_component_are_kept_than_sigma_and_distance():
    inputs = [t.requires_grad_() for t in parts(4, 8, 512)]
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        DiagonalGaussianMixture(*inputs, BOUNDS).log_prob(torch.zeros(4, 512))
    given = {t.data_ptr() for t in inputs}
    wide = {t.data_ptr() for t in kept if t.numel() == 4 * 8 * 512} - given
    assert len(wide) == 2
