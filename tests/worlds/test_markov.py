"""The world of a lookup against brute force: counted states, enumerated pairs, samples."""

import math
from collections import defaultdict

import numpy as np
import pytest
from scipy.special import logsumexp

from latentbench.worlds.markov import markov

BATCHES = 40


@pytest.fixture(scope="module")
def world():
    return markov(dim=4, states=5, sigma=0.05, stay=0.6, chain_seed=1)


@pytest.fixture(scope="module")
def drawn(world):
    """Frames and the states they show, [sequences, frames]: the nearest of means far apart."""
    x = world.sample(60_000, 6, np.random.default_rng(0))
    return x, np.square(x[:, :, None] - world.means).sum(-1).argmin(-1)


def mean_and_error(of_batch):
    """Over independent batches: a figure of a sample, and four standard errors."""
    return np.mean(of_batch), 4 * np.std(of_batch, ddof=1) / math.sqrt(len(of_batch))


def entropy(chances):
    return -sum(p * math.log(p) for p in chances if p > 0)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_the_gain_is_the_entropy_that_the_state_takes_away(world, k):
    pi = world.stationary
    assert pi @ world.transition == pytest.approx(pi, abs=1e-12)
    assert world.transition.sum(1) == pytest.approx(np.ones(5))
    step = np.linalg.matrix_power(world.transition, k)
    gain = entropy(pi) - sum(p * entropy(row) for p, row in zip(pi, step, strict=True))
    figures = world.figures(k, 8, "x")
    assert figures["gain"] == pytest.approx(gain, abs=1e-10)
    assert figures["dnll_context"] == -figures["gain"]
    assert 0 < gain < figures["key_ceiling"] == math.log(5)
    assert world.overlap("delta") < 1e-6


@pytest.mark.parametrize("k", [1, 2, 4])
def test_deltas_of_equal_states_coincide(world, k):
    p, pi, noise = world.transition, world.stationary, 0.5 * 4 * math.log(2 * math.pi * math.e)

    def of_pairs(first):
        """Entropy of the difference when z_{t-1} has the distribution `first`."""
        chances = defaultdict(float)
        for i in range(5):
            for j in range(5):
                chances["same" if i == j else (i, j)] += first[i] * p[i, j]
        return entropy(chances.values())

    narrow, wide = noise + 4 * math.log(0.05), noise + 4 * math.log(0.05 * 2**0.5)
    if k == 1:  # x_{t-1} is seen: what is left is x_t
        nll = sum(chance * entropy(row) for chance, row in zip(pi, p, strict=True)) + narrow
    else:
        before = np.linalg.matrix_power(p, k - 1)
        nll = sum(chance * of_pairs(row) for chance, row in zip(pi, before, strict=True)) + wide
    truth = world.truth(k, 8, "delta")
    assert truth.nll == pytest.approx(nll, abs=1e-10)
    assert truth.nll_unconditional == pytest.approx(of_pairs(pi) + wide, abs=1e-10)


@pytest.mark.parametrize("target", ["x", "delta"])
@pytest.mark.parametrize("k", [1, 3])
def test_lookup_figures_are_those_of_counted_states(world, drawn, k, target):
    x, states = drawn
    values = x[:, -1] - x[:, -2] if target == "delta" else x[:, -1]
    keys = states[:, -1 - k]
    ratios, gains = [], []
    for batch in np.array_split(np.arange(len(x)), BATCHES):
        y, key = values[batch], keys[batch]
        groups = [y[key == c] for c in range(5) if (key == c).any()]
        within = sum(group.var(0).sum() * len(group) for group in groups)
        ratios.append(within / (y.var(0).sum() * len(y)))
        log_volume = sum(np.log(group.var(0)).sum() * len(group) for group in groups) / len(y)
        gains.append(0.5 * (np.log(y.var(0)).sum() - log_volume))
    figures = world.figures(k, 8, target)
    ratio, error = mean_and_error(ratios)
    # A batch of 1,500 in 5 groups: 4/1,499 of the squares are lost to the groups' means.
    assert error < 0.02
    assert figures["key_variance_ratio"] == pytest.approx(ratio, abs=error + 4 / 1_499)
    gain, error = mean_and_error(gains)
    # Likewise: half a log-variance is low by about 1 / frames of its group.
    assert error < 0.1
    assert figures["key_gain"] == pytest.approx(gain, abs=error + 4 * 5 / 1_500)


def test_the_published_ratio_of_the_true_key(world):
    for k in (1, 2, 4):
        p, pi, m = world.transition, world.stationary, world.means
        powers = [np.linalg.matrix_power(p, n) for n in (k - 1, k)]
        explained = pi @ np.square((powers[1] - powers[0]) @ m).sum(1)
        apart = sum(
            pi[i] * p[i, j] * np.square(m[j] - m[i]).sum() for i in range(5) for j in range(5)
        )
        expected = 1 - explained / (apart + 2 * 4 * 0.05**2)
        assert world.figures(k, 8, "delta")["key_variance_ratio"] == pytest.approx(expected)


def test_states_that_overlap_cost_no_more_than_the_stated_bound():
    world = markov(dim=3, states=3, sigma=0.45, stay=0.5, chain_seed=2)
    x = world.sample(200_000, 1, np.random.default_rng(0))[:, 0]
    squares = np.square(x[:, None] - world.means).sum(-1) / 0.45**2
    log_p = logsumexp(-0.5 * squares, axis=1, b=world.stationary)
    nll = -log_p + 1.5 * math.log(2 * math.pi * 0.45**2)
    error = 4 * nll.std() / math.sqrt(len(x))
    off = world.truth(1, 8, "x").nll_unconditional - nll.mean()
    # It is off, and upwards: a sample leaves some doubt about its state.
    assert error < off < world.overlap("x") / 2 + error


def test_directions_are_not_claimed(world):
    assert world.direction(2, 8, "delta") is None
    assert world.inflation(1, 8) == 1.0
    assert world.inflation(2, 8) is None
    assert "direction_cos" not in world.figures(2, 8, "delta")
