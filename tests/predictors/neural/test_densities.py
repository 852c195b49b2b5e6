"""What claims a density has one: of mass 1, of the known likelihood, exact in any units."""

import math

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from latentbench.predictors.densities import components_of
from latentbench.predictors.neural.directional import DirectionalDensity, log_bessel
from latentbench.predictors.neural.flows import FlowMatchingHead
from latentbench.predictors.neural.head import ROWS, RandomTable
from latentbench.predictors.neural.options import DENSITIES, NeuralOptions

EXACT = [head for head, gives in DENSITIES.items() if gives == "exact"]


@pytest.mark.parametrize("head", EXACT)
def test_a_density_integrates_to_one_over_the_line(make, fit, utterances, head):
    predictor = fit(make(dim=1, head=head), utterances(dim=1), 30)
    context = utterances(dim=1, seed=1).batch(np.arange(2)).context
    u = torch.linspace(-12, 12, 3_001, dtype=torch.float64)
    y = predictor.target_mean + predictor.target_scale * u.sinh()  # 80,000 sigma to each side
    slope = predictor.target_scale * u.cosh() * (u[1] - u[0])
    with torch.no_grad():
        log_prob = predictor(context).log_prob(y[:, None, None].expand(-1, 2, 1).float())
    mass = (log_prob.double().exp() * slope[:, None]).sum(0)
    torch.testing.assert_close(mass, torch.ones(2, dtype=torch.float64), rtol=0, atol=2e-3)


@pytest.mark.parametrize("head", EXACT)
def test_a_density_integrates_to_one_in_eight_dimensions(make, fit, utterances, head):
    """By importance sampling from a Student-t around the marginal, wider than the density."""
    predictor = fit(make(dim=8, head=head), utterances(dim=8), 10)
    context = utterances(dim=8, seed=1).batch(np.arange(1)).context
    torch.manual_seed(0)
    count, nu = 4_000, 6.0
    chi_square = torch.distributions.Chi2(torch.tensor(nu)).sample((count, 1)).double()
    z = 1.2 * torch.randn(count, 8).double() * (nu / chi_square).sqrt()
    constant = math.lgamma((nu + 8) / 2) - math.lgamma(nu / 2) - 4 * math.log(nu * math.pi)
    proposal = constant - 8 * math.log(1.2)
    proposal = proposal - (nu + 8) / 2 * (z.square().sum(-1) / (1.2**2 * nu)).log1p()
    proposal = proposal - predictor.target_scale.log().sum()
    y = predictor.target_mean + predictor.target_scale * z
    with torch.no_grad():
        log_prob = predictor(context).log_prob(y[:, None].float()).squeeze(-1).double()
    weights = (log_prob - proposal).exp()
    error = weights.std().item() / count**0.5
    assert error < 0.05
    assert weights.mean().item() == pytest.approx(1.0, abs=4 * error)


def silenced(head):
    """The head with every parameter at 0, so that it gives the marginal N(0, I)."""
    for parameter in head.parameters():
        nn.init.zeros_(parameter)


@pytest.mark.parametrize("head", ["gaussian", "mdn", "student", "flow", "flow-matching"])
def test_the_likelihood_of_a_known_gaussian_of_16_dimensions(make, head):
    """A mean over dimensions in place of a sum, or a wrong Jacobian, is seen here."""
    predictor = make(dim=16, head=head).eval()
    silenced(predictor.head)
    if head == "gaussian":  # where the soft clamp gives sigma = 1
        low, high = predictor.head.bounds
        middle, half = (low + high) / 2, (high - low) / 2
        share = -middle / half
        with torch.no_grad():
            predictor.head.log_sigma.bias.fill_(middle + half * share / (1 - abs(share)))
    if head == "student":
        with torch.no_grad():
            predictor.head.log_degrees.fill_(10.0)
    scale = torch.linspace(0.01, 100.0, 16, dtype=torch.float64)
    predictor.target_scale.copy_(scale)
    predictor.target_mean.fill_(-5.0)
    torch.manual_seed(0)
    count = 1_000
    y = (-5.0 + scale * torch.randn(count, 16)).float()
    with torch.no_grad():
        nll = -predictor(torch.zeros(1, 3, 4 * 4)).log_prob(y[:, None]).double()
    entropy = 8 * math.log(2 * math.pi * math.e) + scale.log().sum().item()
    assert nll.mean().item() == pytest.approx(entropy, abs=4 * (8 / count) ** 0.5)


def test_direction_and_magnitude_of_a_gaussian_cost_little_more_than_its_entropy():
    """Uniform directions, and the log-normal with the moments of ln chi_16."""
    dim = 16
    log_norm = 0.5 * (special.digamma(dim / 2) + math.log(2))
    spread = 0.5 * special.polygamma(1, dim / 2) ** 0.5
    direction = nn.functional.one_hot(torch.tensor([0]), dim).float()
    values = (math.log(1e-4), log_norm, math.log(spread))
    density = DirectionalDensity(direction, *(torch.tensor([one]) for one in values))
    torch.manual_seed(0)
    count = 20_000
    nll = -density.log_prob(torch.randn(count, 1, dim))
    excess = nll.mean().item() - 8 * math.log(2 * math.pi * math.e)
    assert -4 * nll.std().item() / count**0.5 < excess < 0.05


@pytest.mark.parametrize("order", [-0.5, 0.0, 0.5, 1.0, 3.0, 29.5, 63.0, 255.0])
def test_log_bessel_is_scipys_and_so_is_its_slope(order):
    x = torch.logspace(-2, 4, 60, dtype=torch.float64)
    x = x[torch.from_numpy(special.ive(order, x.numpy()) > 1e-290)].requires_grad_()
    found = log_bessel(order, x)
    at = x.detach().numpy()
    expected = np.log(special.ive(order, at)) + at
    np.testing.assert_allclose(found.detach(), expected, rtol=0, atol=3e-6)
    found.sum().backward()
    slope = special.ive(order + 1, at) / special.ive(order, at) + order / at
    np.testing.assert_allclose(x.grad, slope, rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
@pytest.mark.parametrize("log_kappa", [-3.0, 1.0, 5.0])
def test_draws_of_direction_and_magnitude_follow_the_density(dim, log_kappa):
    torch.manual_seed(0)
    direction = nn.functional.normalize(torch.randn(1, dim), dim=-1)
    values = (log_kappa, 0.3, -1.0)
    density = DirectionalDensity(direction, *(torch.tensor([one]) for one in values))
    drawn = density.sample((20_000,)).squeeze(1)
    norm = drawn.norm(dim=-1)
    torch.testing.assert_close(drawn.mean(0), density.mean[0], rtol=0, atol=0.04)
    assert norm.log().mean().item() == pytest.approx(0.3, abs=0.02)
    assert norm.log().std().item() == pytest.approx(math.exp(-1), abs=0.02)
    # E[cos] = A_D(kappa) and the entropy of the density are those of the draws' own likelihood.
    kappa = math.exp(log_kappa)
    ratio = special.ive(dim / 2, kappa) / special.ive(dim / 2 - 1, kappa)
    cosine = (drawn @ direction[0]) / norm
    assert cosine.mean().item() == pytest.approx(ratio, abs=4 * cosine.std().item() / 20_000**0.5)


def test_no_start_leaves_direction_or_magnitude_without_a_gradient(make):
    """The original's log sigma and kappa stuck at clamps."""
    for start in (-1e6, -30.0, 0.0, 30.0, 1e6):
        predictor = make(head="vmf")
        with torch.no_grad():
            predictor.head.shape.bias.fill_(start)
            predictor.head.direction.bias.fill_(start)
        predictor.loss(torch.randn(8, 3, 4), torch.randn(8, 4)).backward()
        for name, parameter in predictor.named_parameters():
            assert parameter.grad.isfinite().all(), (name, start)
            assert parameter.grad.abs().sum() > 0, (name, start)


class Linear(nn.Module):
    """A velocity A x that knows neither time nor state."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, x, *_):
        return x @ self.matrix.T


def flow_matching(matrix, **options):
    options = NeuralOptions(head="flow-matching", head_width=8, head_layers=1, **options)
    head = FlowMatchingHead(options, width=2, dim=len(matrix))
    head.network = Linear(matrix)
    return head


def test_the_density_of_a_linear_flow_is_that_of_its_gaussian():
    """From N(0, I) at t = 0 the flow A x leads to N(0, e^A e^A^T)."""
    torch.manual_seed(0)
    matrix = 0.5 * torch.randn(6, 6)
    head = flow_matching(matrix)
    factor = torch.linalg.matrix_exp(matrix.double())
    expected = torch.distributions.MultivariateNormal(
        torch.zeros(6, dtype=torch.float64), factor @ factor.T
    )
    z = torch.randn(50, 6)
    found = head.log_density(torch.zeros(50, 2), z)
    torch.testing.assert_close(found.double(), expected.log_prob(z.double()), rtol=0, atol=1e-3)
    with torch.inference_mode():  # as frames are scored
        torch.testing.assert_close(head.log_density(torch.zeros(50, 2), z), found)
    drawn = head(torch.zeros(1, 2)).sample((20_000,)).squeeze(1).double()
    torch.testing.assert_close(drawn.T.cov(), factor @ factor.T, rtol=0.1, atol=0.1)


def by_probes(dim, scale, count, **options):
    """A linear flow, its log-density of targets by probes, and that of its Gaussian."""
    matrix = scale * torch.randn(dim, dim)
    head = flow_matching(matrix, **options)
    z, states = torch.randn(count, dim), torch.zeros(count, 2)
    factor = torch.linalg.matrix_exp(matrix.double())
    expected = torch.distributions.MultivariateNormal(
        torch.zeros(dim, dtype=torch.float64), factor @ factor.T
    )
    return head, z, states, head.log_density(states, z).double() - expected.log_prob(z.double())


def test_the_error_of_the_probes_is_the_one_reported():
    torch.manual_seed(0)
    errors, reported = [], []
    for _ in range(20):
        head, z, states, error = by_probes(80, 0.05, 4, probes=16)
        errors.append(error)
        reported.append(head.errors(states, z)[1].mean())
    ratio = torch.stack(errors).square().mean().sqrt() / torch.stack(reported).double().mean()
    assert 0.5 < ratio < 2.0


def test_the_errors_of_the_probes_average_out_over_frames():
    torch.manual_seed(0)
    head, z, states, errors = by_probes(24, 0.1, 4_000, probes=4)
    assert errors.std() > 0.2
    assert abs(errors.mean()) < 4 * errors.std() / 4_000**0.5
    # Probes are of the frame, not of its place.
    some = torch.tensor([3_900, 7, 50])
    alone = head.log_density(states[some], z[some])
    torch.testing.assert_close(alone, head.log_density(states, z)[some], rtol=0, atol=1e-4)


@pytest.mark.parametrize("step", [1.0, 1 / 16, 0.0], ids=["integers", "lattice", "any"])
def test_frames_take_their_rows_evenly_whatever_numbers_they_are_of(step):
    """By Pearson's chi-square: latents of a quantiser have few digits, and no fewer rows."""
    torch.manual_seed(0)
    table = RandomTable(torch.arange(float(ROWS))[:, None])
    frames = 8.0 * torch.randn(20_000, 8)
    frames = torch.unique((frames / step).round() * step if step else frames, dim=0)
    counts = torch.bincount(table(frames, 1)[0, :, 0].long(), minlength=ROWS)
    mean = len(frames) / ROWS
    chi_square = float(((counts - mean) ** 2 / mean).sum())
    assert abs(chi_square - (ROWS - 1)) < 6 * (2 * (ROWS - 1)) ** 0.5


def test_probes_enough_make_the_trace_exact():
    torch.manual_seed(0)
    _, _, _, errors = by_probes(24, 0.1, 50, probes=12)
    assert errors.abs().max() < 1e-3


@pytest.mark.parametrize("head", ["gaussian", "mdn"])
def test_a_mixture_is_seen_as_one_in_the_units_of_the_target(make, fit, utterances, head):
    """Its marginals and draws are then exact, not sampled."""
    frames = utterances()
    predictor = fit(make(head=head), frames)
    batch = frames.batch(np.arange(20))
    with torch.no_grad():
        density = predictor(batch.context)
        found = components_of(density)
        normal = torch.distributions.Normal(found.means, found.sigmas)
        joint = normal.log_prob(batch.target.unsqueeze(1)).sum(-1) + found.weights.log()
        torch.testing.assert_close(
            joint.logsumexp(-1).double(), density.log_prob(batch.target), rtol=0, atol=1e-4
        )
