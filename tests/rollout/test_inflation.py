"""What a perfect model inflates: the published table, recursions by hand, and real rollouts."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentbench.latents import Latents
from latentbench.predictors import Predictor
from latentbench.rollout.engine import rollout, rollout_frames
from latentbench.rollout.inflation import FirstOrder, first_order, linear_inflation

CPU = torch.device("cpu")


def moments_of(*rho, variance=None):
    correlation = np.array(rho)
    spread = np.ones(len(rho)) if variance is None else np.array(variance)
    return FirstOrder(1_000, np.zeros(len(rho)), spread, correlation)


@pytest.mark.parametrize(
    ("rho", "k", "published"),
    [
        (0.25, 2, "5.2"),
        (0.25, 4, "67"),
        (0.25, 8, "1.6e+04"),
        (0.64, 2, "2.1"),
        (0.64, 4, "5.3"),
        (0.64, 8, "26"),
        (0.9, 2, "1.2"),
        (0.9, 4, "1.7"),
        (0.9, 8, "3"),
        *((rho, 1, "1") for rho in (0.25, 0.64, 0.9)),
    ],
)
def test_the_published_table(rho, k, published):
    found = linear_inflation(moments_of(rho, rho), k, [])
    assert f"{found.stationary:.2g}" == published
    assert found.unbounded == 0.0


def by_recursion(rho, k, steps):
    """Var x̂_{t0+n} of x̂_t = x̂_{t-1} + b x̂_{t-k} + e, from its weights on what is independent.

    x̂_t = sum of weights on the true frames x_0..x_{k-1} and on every e since.
    """
    b = rho ** (k - 1) * (rho - 1)
    noise = 2 * (1 - rho) - b * b
    true = rho ** np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    covariance = np.zeros((k + steps, k + steps))
    covariance[:k, :k] = true
    covariance[range(k, k + steps), range(k, k + steps)] = noise
    weights = np.eye(k, k + steps)
    for n in range(steps):
        made = weights[-1] + b * weights[-k]
        made[k + n] += 1
        weights = np.vstack([weights, made])
    return np.einsum("ni,ij,nj->n", weights[k:], covariance, weights[k:])


@pytest.mark.parametrize("rho", [0.9, 0.25, 0.0, -0.3])
@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_by_depth_it_is_the_plain_recursion(rho, k):
    depths = [1 - k, 0, 1, 2, 5, 20]
    found = linear_inflation(moments_of(rho), k, depths)
    expected = by_recursion(rho, k, 20 + k)
    for j in depths:
        assert found.by_depth[j] == pytest.approx(expected[j + k - 1], rel=1e-9)


def test_dimensions_add_up_by_their_variance():
    depths = [1, 8]
    whole = linear_inflation(moments_of(0.3, 0.8, 0.5, variance=[1.0, 3.0, 0.0]), 4, depths)
    parts = [linear_inflation(moments_of(rho), 4, depths) for rho in (0.3, 0.8)]
    for j in depths:
        expected = (parts[0].by_depth[j] + 3 * parts[1].by_depth[j]) / 4
        assert whole.by_depth[j] == pytest.approx(expected, rel=1e-12)
    assert whole.stationary == pytest.approx((parts[0].stationary + 3 * parts[1].stationary) / 4)


@pytest.mark.parametrize("rho", [-0.1, 0.0, 1e-9])
def test_a_dimension_that_nothing_pulls_back_grows_without_bound(rho):
    found = linear_inflation(moments_of(0.5, rho, variance=[3.0, 1.0]), 4, [1, 4_000])
    assert found.stationary == math.inf
    assert found.unbounded == 0.25
    assert found.by_depth[4_000] > 100 * found.by_depth[1]


def test_a_growth_beyond_every_number_is_infinite():
    assert linear_inflation(moments_of(-0.9), 2, [3_000]).by_depth[3_000] == math.inf


def test_latents_that_never_change_have_no_ratio():
    found = linear_inflation(moments_of(0.0, variance=[0.0]), 2, [1])
    assert math.isnan(found.by_depth[1])
    assert math.isnan(found.stationary)


def latents_of(arrays):
    arrays = {f"u{i}": one.astype(np.float32) for i, one in enumerate(arrays)}
    return Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))


def test_moments_are_those_of_numpy_and_cross_no_utterance():
    rng = np.random.default_rng(0)
    arrays = [1e3 + rng.normal(size=(n, 3)).cumsum(0) for n in (50, 1, 80, 0, 2)]
    for one in arrays:
        one[:, 2] = 7.0
    found = first_order(latents_of(arrays), [0, 1, 2, 3, 4], 10_000)
    rounded = [one.astype(np.float32).astype(np.float64) for one in arrays]
    x = np.concatenate([one[:-1] for one in rounded])
    y = np.concatenate([one[1:] for one in rounded])
    assert found.frames == 49 + 79 + 1
    np.testing.assert_allclose(found.mean, y.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.variance, y.var(0), rtol=1e-9)
    assert found.total_variance == pytest.approx(y.var(0).sum())
    for d in (0, 1):
        expected = np.corrcoef(x[:, d], y[:, d])[0, 1]
        assert found.correlation[d] == pytest.approx(expected, rel=1e-9)
    assert found.correlation[2] == 0.0


def test_moments_stop_at_so_many_frames_and_need_two():
    latents = latents_of([np.random.default_rng(0).normal(size=(50, 3))])
    few, none = first_order(latents, [0], 20), first_order(latents, [], 20)
    assert few.frames == 20
    expected = latents.utterance(0).numpy()[1:21].astype(np.float64).var(0)
    np.testing.assert_allclose(few.variance, expected, rtol=1e-9)
    assert (none.frames, none.total_variance) == (0, 0.0)


# Real rollouts of the exact predictor of an AR(1). Chains are independent, so they give the error.
CHAINS, LENGTH = 400, 400


class Exact(Predictor):
    """N(gain x_{t-k}, sigma²)."""

    def __init__(self, gain, sigma):
        super().__init__(context_frames=1, dim=1)
        self.gain, self.sigma = gain, sigma

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        mean = self.gain * context[:, -1]
        return Independent(Normal(mean, torch.full_like(mean, self.sigma)), 1)


def rolled_variance(rho, k, target):
    """Per chain and depth, the square of the rolled-out state, [CHAINS, steps]."""
    rng = np.random.default_rng(k)
    x = np.empty((LENGTH, CHAINS))
    x[0] = rng.normal(size=CHAINS)
    for t in range(1, LENGTH):
        x[t] = rho * x[t - 1] + math.sqrt(1 - rho**2) * rng.normal(size=CHAINS)
    latents = latents_of(x.T[:, :, None])
    frames = rollout_frames(
        latents,
        range(CHAINS),
        context_frames=1,
        horizon=k,
        target=target,
        count=CHAINS,
        max_frames=LENGTH,
    )
    gain = rho ** (k - 1) * (rho - 1) if target == "delta" else rho**k
    spread = 2 * (1 - rho) if target == "delta" else 1.0
    exact = Exact(gain, math.sqrt(spread - gain**2))
    columns = rollout(
        exact,
        exact,
        frames,
        batch_size=8_192,
        device=CPU,
        mode="sample",
        centre=torch.zeros(1),
    )
    depth = columns["depth"].reshape(CHAINS, -1)[0]
    return depth, columns["deviation"].reshape(CHAINS, -1)


@pytest.mark.parametrize(("rho", "k"), [(0.25, 1), (0.25, 4), (0.64, 8)])
def test_the_perfect_model_inflates_by_the_closed_form(rho, k):
    depth, squares = rolled_variance(rho, k, "delta")
    late = depth > 200
    found = squares[:, late].mean(1)
    error = found.std(ddof=1) / math.sqrt(CHAINS)
    moments = moments_of(rho)
    at_depth = linear_inflation(moments, k, depth[late].tolist()).by_depth
    expected = float(np.mean(list(at_depth.values())))
    assert error < 0.1 * expected
    assert found.mean() == pytest.approx(expected, abs=4 * error)
    stationary = linear_inflation(moments, k, []).stationary
    assert expected == pytest.approx(stationary, rel=0.1)  # 200 steps are nearly for ever


def test_where_for_ever_is_long_the_curve_is_met_on_the_way():
    depth, squares = rolled_variance(0.25, 8, "delta")
    at_depth = linear_inflation(moments_of(0.25), 8, [1, 64, 256]).by_depth
    for j, expected in at_depth.items():
        found = squares[:, depth == j].ravel()
        assert found.mean() == pytest.approx(expected, abs=4 * found.std() / math.sqrt(CHAINS))
    assert at_depth[256] > 300


def test_the_control_with_the_target_x_does_not_inflate():
    depth, squares = rolled_variance(0.25, 8, "x")
    found = squares[:, depth > 20].mean(1)
    error = found.std(ddof=1) / math.sqrt(CHAINS)
    assert error < 0.02
    assert found.mean() == pytest.approx(1.0, abs=4 * error)
