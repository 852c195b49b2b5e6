"""Gaussian worlds against the closed forms of docs/calibration.md."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.special import gammaln, hyp2f1, polygamma

from latentbench.errors import UsageError
from latentbench.worlds.gaussian import ar1, factored, state_space, var, white_noise
from latentbench.worlds.norms import Block, score_pairs

W = 8


def cosine(r2, dim):
    ratio = math.exp(2 * (gammaln((dim + 1) / 2) - gammaln(dim / 2)))
    return math.sqrt(r2) * (2 / dim) * ratio * hyp2f1(0.5, 0.5, (dim + 2) / 2, r2)


def logmag_r2_var(r2, dim):
    a, n = dim / 2, np.arange(1, 4000)
    log_terms = n * math.log(r2) + gammaln(n + 1) - (gammaln(a + n) - gammaln(a)) - 2 * np.log(n)
    return 2 * np.exp(log_terms).sum() / polygamma(1, a) - 1


def logmag_r2(r2, dim):
    return logmag_r2_var(r2, dim) - (0.5 * math.log(r2)) ** 2 / (polygamma(1, dim / 2) / 4)


def test_white_noise_has_the_published_floor_and_nothing_else():
    world = white_noise(512)
    truths = [world.figures(k, W, "delta") for k in (1, 2, 4, 8)]
    assert [round(one["dnll"], 1) for one in truths] == [-177.4, 0, 0, 0]
    assert truths[0]["dnll"] == pytest.approx(-256 * math.log(2), rel=1e-12)
    assert truths[0]["direction_cos"] == pytest.approx(0.7068, abs=5e-5)
    assert truths[0]["logmag_r2_var"] == pytest.approx(-0.001, abs=5e-4)
    assert [one["direction_cos"] for one in truths[1:]] == [0.0, 0.0, 0.0]
    assert all("logmag_r2" not in one for one in truths[1:])
    assert all(world.truth(k, W, "x").dnll == pytest.approx(0, abs=1e-9) for k in (1, 2))


@pytest.mark.parametrize(
    ("k", "per_dim", "cos", "r2"), [(1, -0.0992, 0.419, -46.8), (2, -0.0383, 0.268, -107)]
)
def test_ar1_has_the_published_figures(k, per_dim, cos, r2):
    truth = ar1(32, 0.64).figures(k, W, "delta")
    assert truth["dnll"] / 32 == pytest.approx(per_dim, abs=5e-5)
    assert truth["direction_cos"] == pytest.approx(cos, abs=5e-4)
    # Published as Monte Carlo figures, good to about 1 %.
    assert truth["logmag_r2"] == pytest.approx(r2, rel=0.015)


@pytest.mark.parametrize("dim", [1, 2, 32, 512])
@pytest.mark.parametrize(
    ("rho", "k"), [(0.0, 1), (0.3, 1), (0.3, 3), (0.9, 1), (0.9, 3), (-0.7, 1), (-0.7, 3)]
)
def test_ar1_agrees_with_its_closed_forms(dim, rho, k):
    truth, of_x = (ar1(dim, rho).truth(k, W, target) for target in ("delta", "x"))
    r2 = rho ** (2 * (k - 1)) * (1 - rho) / 2
    assert truth.dnll == pytest.approx(0.5 * dim * math.log(1 - r2), rel=1e-10)
    assert truth.nll == pytest.approx(
        0.5 * dim * math.log(2 * math.pi * math.e * 2 * (1 - rho) * (1 - r2)), rel=1e-10
    )
    assert of_x.dnll == pytest.approx(0.5 * dim * math.log1p(-(rho ** (2 * k))), abs=1e-9)
    scores = ar1(dim, rho).direction(k, W, "delta")
    assert scores.direction_cos == pytest.approx(cosine(r2, dim), rel=1e-8)
    assert scores.logmag_r2_var == pytest.approx(logmag_r2_var(r2, dim), abs=1e-7)
    assert scores.logmag_r2 == pytest.approx(logmag_r2(r2, dim), rel=1e-8)


@pytest.mark.parametrize("target", ["delta", "x"])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_var_agrees_with_its_closed_form(k, target):
    world = var(5, 0.1, 0.95, 3)
    a, sigma = world.transition, world.state_covariance
    assert sigma == pytest.approx(a @ sigma @ a.T + world.noise, abs=1e-10)
    total = 2 * sigma - a @ sigma - sigma @ a.T
    power = np.linalg.matrix_power(a, k - 1)
    gain = power @ (a - np.eye(5))
    if target == "x":
        total, gain = sigma, power @ a
    residual = total - gain @ sigma @ gain.T
    truth = world.truth(k, W, target)
    diagonal = np.log(np.diag(total)).sum()
    log_det = [np.linalg.slogdet(one)[1] for one in (residual, total)]
    assert truth.dnll == pytest.approx(0.5 * (log_det[0] - diagonal), abs=1e-10)
    assert truth.dnll_context == pytest.approx(0.5 * (log_det[0] - log_det[1]), abs=1e-10)
    assert truth.dnll_capacity == pytest.approx(0.5 * (log_det[1] - diagonal), abs=1e-10)
    found = 0.5 * np.log(np.diag(residual) / np.diag(total)).sum()
    assert truth.dnll_diagonal == pytest.approx(found, abs=1e-10)
    # Rotated axes: the three differ, so that a diagonal family shows.
    assert truth.dnll < truth.dnll_diagonal < 0
    assert truth.dnll_capacity < -0.01


def test_a_markov_world_needs_no_more_than_the_newest_frame():
    world = var(3, -0.2, 0.8, 0)
    general = replace(world, markov=False)
    for k in (1, 3):
        short, long = (one.conditional(k, 4, "delta") for one in (world, general))
        assert long.gain == pytest.approx(short.gain, abs=1e-8)
        assert long.residual == pytest.approx(short.residual, abs=1e-10)
        assert general.inflation(k, 4) == pytest.approx(world.inflation(k, 4), rel=1e-6)


def test_more_context_never_hurts_and_helps_where_states_are_hidden():
    world = state_space(4, 0.95, 0.5, 1)
    nll = [world.truth(1, frames, "x").nll for frames in (1, 2, 8)]
    assert nll[0] > nll[1] > nll[2]
    assert nll[0] - nll[2] > 0.01


@pytest.mark.parametrize("world", [var(3, 0.2, 0.9, 0), state_space(3, 0.9, 0.5, 0), ar1(3, 0.6)])
def test_samples_have_the_autocovariance(world):
    x = world.sample(20_000, 4, np.random.default_rng(0))
    copies = world.copies
    for lag in (0, 1, 3):
        found = np.einsum("ni,nj->ij", x[:, 3], x[:, 3 - lag]) / len(x)
        expected = np.kron(np.eye(copies), world.autocovariance(lag))
        # Four standard errors of a product of Gaussians, all of variance at most `top`.
        top = np.diag(world.autocovariance(0)).max()
        assert found == pytest.approx(expected, abs=4 * math.sqrt(2 / len(x)) * top)


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        (0.25, (1.0, 5.2, 67, 1.6e4)),
        (0.64, (1.0, 2.1, 5.3, 26)),
        (0.9, (1.0, 1.2, 1.7, 3.0)),
    ],
)
def test_rollouts_inflate_as_published(rho, expected):
    found = [ar1(3, rho).inflation(k, W) for k in (1, 2, 4, 8)]
    assert [float(f"{one:.2g}") for one in found] == list(expected)


def test_inflation_by_depth_begins_as_derived_and_ends_stationary():
    rho, world = 0.64, ar1(1, 0.64)
    curve = world.inflation_by_depth(2, W, 80)
    # The first own frame: Var(x_{t-1} + B x_{t-2} + e), B = rho (rho - 1), Var(e) = S - B².
    assert curve[0] == pytest.approx(1 + 2 * rho**2 * (rho - 1) + 2 * (1 - rho))
    assert curve[-1] == pytest.approx(world.inflation(2, W), rel=1e-6)
    assert world.inflation_by_depth(1, W, 30) == pytest.approx(np.ones(30), abs=1e-9)


def test_white_noise_rolls_out_without_end():
    assert white_noise(2).inflation(1, W) == pytest.approx(1.0)
    assert white_noise(2).inflation(2, W) == math.inf
    # Each draw adds 2, but the first k = 2 forget nothing: Var = 1 + 2 n.
    assert white_noise(1).inflation_by_depth(2, W, 4) == pytest.approx([3, 5, 7, 9])


@pytest.mark.parametrize("target", ["delta", "x"])
@pytest.mark.parametrize("world", [var(2, 0.2, 0.9, 0), state_space(2, 0.9, 0.5, 0)])
def test_the_rollout_gap_is_that_of_a_naive_rollout(world, target):
    k, frames, context = 2, 12, 3
    x = world.sample(20_000, frames, np.random.default_rng(1))
    found = world.conditional(k, context, target)
    whiten = np.linalg.inv(np.real(sqrtm(found.residual)))
    own, t0 = x.copy(), context - 1 + k
    gaps = []
    for t in range(t0, frames):
        window = slice(t - k - context + 1, t - k + 1)
        truth = x[:, t] - (x[:, t - 1] if target == "delta" else 0)
        errors = []
        for states in (own, x):
            mean = states[:, window].reshape(len(x), -1) @ found.gain.T
            errors.append(((truth - mean) @ whiten).__pow__(2).sum(1) / 2)
            if states is own:
                own[:, t] = mean + (own[:, t - 1] if target == "delta" else 0)
        gaps.append(errors[0] - errors[1])
    gaps = np.mean(gaps, axis=0)
    error = gaps.std() / math.sqrt(len(gaps))
    assert error < 0.02
    expected = world.rollout_gap(k, context, target, frames)
    assert expected == pytest.approx(gaps.mean(), abs=4 * error)
    assert world.rollout_gap(k, context, target, t0) is None


def test_scores_of_pairs_agree_with_simulation():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(6, 6)) / 2
    block = Block(root @ root.T, rng.normal(size=6) / 2)
    other = Block(np.diag([1.0, 0.5, 2.0, 1.0, 0.3, 0.7]), np.zeros(6))
    mixture = [(0.3, [block]), (0.7, [other])]
    n = 400_000
    first = rng.random(n) < 0.3
    z = np.where(
        first[:, None],
        block.mean + rng.normal(size=(n, 6)) @ root.T,
        rng.normal(size=(n, 6)) * np.sqrt(np.diag(other.covariance)),
    )
    m, y = z[:, :3], z[:, 3:]
    norms = [np.linalg.norm(one, axis=1) for one in (m, y)]
    cos = (m * y).sum(1) / norms[0] / norms[1]
    error = np.log(norms[1]) - np.log(norms[0])
    spread = np.log(norms[1]).var()
    found = score_pairs(mixture)
    assert found.direction_cos == pytest.approx(cos.mean(), abs=4 * cos.std() / math.sqrt(n))
    assert found.logmag_r2_var == pytest.approx(1 - error.var() / spread, abs=0.03)
    assert found.logmag_r2 == pytest.approx(1 - (error**2).mean() / spread, abs=0.03)


@pytest.mark.parametrize("dim", [1, 2, 32, 512])
@pytest.mark.parametrize(("rho", "k"), [(0.0, 1), (0.64, 1), (0.9, 3)])
def test_the_energy_score_of_isotropic_gaussians(dim, rho, k):
    figures = ar1(dim, rho).figures(k, W, "delta")
    r2 = rho ** (2 * (k - 1)) * (1 - rho) / 2
    spread = math.sqrt(2 * (1 - rho) * (1 - r2))
    per_deviation = math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    assert figures["energy_score"] == pytest.approx(spread * per_deviation, rel=1e-9)
    assert figures["energy_skill"] == pytest.approx(1 - math.sqrt(1 - r2), abs=1e-9)
    assert figures["variance_ratio"] == pytest.approx(1 - r2)
    assert figures["spread_skill"] == 1.0


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("k", [1, 2, 8])
def test_all_that_is_predictable_is_the_state(k, tau):
    world = factored(dim=7, predictable=3, rho=0.9, tau=tau, rotation_seed=1)
    assert world.figures(k, W, "x")["gain"] == pytest.approx(-1.5 * math.log1p(-(0.9 ** (2 * k))))
    # Seen through its own basis, the state is an AR(1) world and the rest is noise.
    s = world.basis.T @ world.autocovariance(k) @ world.basis
    assert s == pytest.approx(0.9**k * np.eye(3), abs=1e-12)
    rest = world.observation[:, 3:]
    assert rest.T @ world.autocovariance(0) @ rest == pytest.approx(tau**2 * np.eye(4), abs=1e-12)
    assert rest.T @ world.autocovariance(k) @ rest == pytest.approx(np.zeros((4, 4)), abs=1e-12)
    state = ar1(3, 0.9).truth(k, W, "x").nll
    total = world.truth(k, W, "x").nll
    assert total == pytest.approx(state + world.innovation_entropy, abs=1e-10)


def test_no_channel_is_better_than_the_rate_distortion_curve():
    world = factored(dim=6, predictable=2, rho=0.9, tau=1.5, rotation_seed=0)
    rng = np.random.default_rng(0)
    source, gaps = 1.5**2 * np.eye(4), []
    for _ in range(300):
        # r + noise of any covariance, decoded at best: rate ½ ln |R| / |R given it|.
        root = rng.normal(size=(4, 4)) * rng.lognormal(sigma=1.0, size=4)
        left = np.linalg.inv(np.linalg.inv(source) + root @ root.T)
        rate = 0.5 * (np.linalg.slogdet(source)[1] - np.linalg.slogdet(left)[1])
        gaps.append(np.trace(left) / world.least_error(rate) - 1)
    assert min(gaps) > 0
    # Noise of equal strength in every dimension reaches it.
    for strength in (0.1, 1.0, 10.0):
        left = 1 / (1 / 1.5**2 + strength)
        rate = 2 * math.log(1.5**2 / left)
        assert world.least_error(rate) == pytest.approx(4 * left)
    assert world.least_error(0.0) == pytest.approx(4 * 1.5**2)


def test_a_factored_world_needs_room_for_innovation():
    with pytest.raises(UsageError, match="dim=4 has no room for predictable=4"):
        factored(dim=4, predictable=4, rho=0.9, tau=1.0, rotation_seed=0)
