"""Worlds of hidden chains against brute force: enumerated states, simulated contexts."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from latentbench.worlds.hidden import sign_symmetric
from latentbench.worlds.markov import markov
from latentbench.worlds.scales import scale_mixture, switching

WORLDS = {
    "scale-mixture": scale_mixture(3, 4.0, 0.3),
    "switching": switching(3, 4.0, 0.9),
    "switching often": switching(3, 3.0, 0.2),
    "sign-symmetric": sign_symmetric(3, 3.0),
}
MARKOV = {"markov": markov(dim=3, states=3, sigma=0.05, stay=0.5, chain_seed=2)}


def log_normal(value, mean, variance):
    squares = ((value - mean) ** 2).sum(-1) / variance
    return -0.5 * (squares + value.shape[-1] * math.log(2 * math.pi * variance))


def log_joint(world, frames, known):
    """ln p of the known frames, by the sum over every path of the chain."""
    total, states = [], range(len(world.transition))
    for path in itertools.product(states, repeat=frames.shape[1]):
        chance = world.stationary[path[0]]
        for before, after in itertools.pairwise(path):
            chance = chance * world.transition[before, after]
        log_p = np.full(len(frames), math.log(chance))
        for t in known:
            log_p = log_p + log_normal(frames[:, t], world.means[path[t]], world.variances[path[t]])
        total.append(log_p)
    return logsumexp(total, axis=0)


def log_delta(world, x, context):
    """ln p(x_t - x_{t-1} | context), by the sum over every path; k >= 2."""
    delta = x[:, -1] - x[:, -2]
    with_target, seen = [], range(context)
    for path in itertools.product(range(len(world.transition)), repeat=x.shape[1]):
        chance = world.stationary[path[0]]
        for before, after in itertools.pairwise(path):
            chance = chance * world.transition[before, after]
        log_p = np.full(len(x), math.log(chance))
        for t in seen:
            log_p = log_p + log_normal(x[:, t], world.means[path[t]], world.variances[path[t]])
        before, after = path[-2:]
        mean = world.means[after] - world.means[before]
        variance = world.variances[after] + world.variances[before]
        with_target.append(log_p + log_normal(delta, mean, variance))
    return logsumexp(with_target, axis=0) - log_joint(world, x, seen)


@pytest.mark.parametrize("name", WORLDS | MARKOV)
@pytest.mark.parametrize(("target", "k"), [("x", 1), ("x", 3), ("delta", 1), ("delta", 2)])
def test_likelihoods_agree_with_enumerated_paths(name, target, k):
    world, context = (WORLDS | MARKOV)[name], 3
    x = world.sample(10_000, context + k, np.random.default_rng(0))
    seen = range(context)
    if target == "delta" and k > 1:
        nll = -log_delta(world, x, context)
    else:  # at k = 1 a delta has the density of x_t, shifted
        nll = log_joint(world, x, seen) - log_joint(world, x, [*seen, context + k - 1])
    error = nll.std() / math.sqrt(len(nll))
    assert error < 0.04
    truth = world.truth(k, context, target)
    assert truth.nll == pytest.approx(nll.mean(), abs=4 * error)
    # Halving the steps of every integral changes nothing that a run could show.
    coarse = replace(world, refinement=0.5).truth(k, context, target)
    assert coarse.nll == pytest.approx(truth.nll, abs=1e-6)
    assert coarse.nll_unconditional == pytest.approx(truth.nll_unconditional, abs=1e-6)


@pytest.mark.parametrize("name", WORLDS | MARKOV)
def test_marginals_agree_with_samples(name):
    world = (WORLDS | MARKOV)[name]
    x = world.sample(100_000, 2, np.random.default_rng(1))
    deltas = x[:, 1] - x[:, 0]
    for target, values in (("x", x[:, 1]), ("delta", deltas)):
        variances = world.target_variances(target)
        truth = world.truth(3, 4, target)
        expected = 0.5 * (np.log(2 * math.pi * variances) + 1).sum()
        assert truth.nll_baseline == pytest.approx(expected, rel=1e-12)
        squares = values**2
        spread = 4 * squares.std(0) / math.sqrt(len(x))
        assert (np.abs(squares.mean(0) - variances) < spread).all()
        assert (np.abs(values.mean(0)) < 4 * np.sqrt(variances / len(x))).all()


@pytest.mark.parametrize("name", WORLDS)
def test_cosine_and_magnitude_of_the_previous_frame_agree_with_samples(name):
    world = WORLDS[name]
    x = world.sample(200_000, 2, np.random.default_rng(2))
    m, y = -x[:, 0], x[:, 1] - x[:, 0]
    norms = [np.linalg.norm(one, axis=1) for one in (m, y)]
    cos = (m * y).sum(1) / norms[0] / norms[1]
    truth = world.direction(1, 4, "delta")
    assert truth.direction_cos == pytest.approx(cos.mean(), abs=4 * cos.std() / math.sqrt(len(x)))
    error, spread = np.log(norms[1] / norms[0]), np.log(norms[1]).var()
    assert truth.logmag_r2_var == pytest.approx(1 - error.var() / spread, abs=0.03)
    assert truth.logmag_r2 == pytest.approx(1 - (error**2).mean() / spread, abs=0.03)


def test_independent_frames_gain_by_capacity_alone():
    for name in ("scale-mixture", "sign-symmetric"):
        for k, target in ((2, "delta"), (8, "delta"), (1, "x")):
            truth = WORLDS[name].truth(k, 8, target)
            assert truth.dnll_capacity < -0.3
            assert truth.dnll_context == pytest.approx(0, abs=1e-9)
            scores = WORLDS[name].direction(k, 8, target)
            assert (scores.direction_cos, scores.logmag_r2) == (0.0, None)


def test_spells_are_context_without_direction():
    world = switching(8, 4.0, 0.9)
    gains = [world.truth(k, 8, "delta").dnll_context for k in (2, 4, 8)]
    assert gains[0] < gains[1] < gains[2] < -0.01
    assert world.direction(2, 8, "delta").direction_cos == 0.0


def test_a_scale_mixture_is_a_switching_world_without_memory():
    same, memoryless = switching(4, 3.0, 0.5), scale_mixture(4, 3.0, 0.5)
    assert same.memoryless
    for k in (1, 2):
        assert same.truth(k, 8, "delta") == memoryless.truth(k, 8, "delta")


def test_two_far_peaks_cost_one_bit():
    # h(x) = ln 2 + ½ ln 2πe per dimension, once the peaks do not overlap.
    truth = sign_symmetric(5, 30.0).truth(1, 8, "x")
    assert truth.nll == pytest.approx(math.log(2) + 2.5 * math.log(2 * math.pi * math.e), abs=1e-9)


@pytest.mark.parametrize(
    ("target", "weights", "places"),
    [("x", [0.5, 0.5], [-3, 3]), ("delta", [0.25, 0.5, 0.25], [-6, 0, 6])],
)
def test_peaks_are_where_samples_are(target, weights, places):
    world = sign_symmetric(3, 3.0)
    found, means = world.peaks(target)
    assert found == pytest.approx(weights)
    assert means.sum(1) / 3**0.5 == pytest.approx(places)
    x = world.sample(100_000, 2, np.random.default_rng(4))
    values = x[:, 1] - x[:, 0] if target == "delta" else x[:, 1]
    nearest = np.square(values[:, None] - means).sum(-1).argmin(1)
    shares = np.bincount(nearest) / len(x)
    # The peaks are 6 deviations apart at least, √2 wider in a delta: 1.7 % are taken for another.
    assert shares == pytest.approx(found, abs=0.02)


def test_rollouts_that_are_known():
    world = WORLDS["sign-symmetric"]
    assert world.inflation(1, 8) == 1.0
    assert world.inflation(2, 8) == math.inf
    assert world.rollout_gap(2, 8, "delta", 100) == 0.0
    assert world.rollout_gap(2, 8, "delta", 9) is None
    assert world.rollout_gap(1, 8, "delta", 100) is None
    assert WORLDS["switching"].rollout_gap(2, 8, "delta", 100) is None
