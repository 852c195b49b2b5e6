from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import solve_discrete_lyapunov

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.linear import LinearPredictor
from latentbench.predictors.plugin import LinearOptions
from latentbench.progress import SilentProgress
from latentbench.tasks import TaskFrames, WindowTask

W, DIM = 3, 4


def latents_of(arrays):
    named = {str(i): np.asarray(array, dtype=np.float32) for i, array in enumerate(arrays)}
    return Latents.from_arrays(named, dict.fromkeys(named, "s"))


def windows(latents, **task):
    task = WindowTask(frame_set="own", **{"context_frames": W, "horizon": 1, **task})
    return task.frames(latents, range(len(latents.utterances)))


def frames_of(arrays, **task):
    return windows(latents_of(arrays), **task)


def fitted(frames, progress=None, **options):
    predictor = LinearPredictor(
        LinearOptions(**options), context_frames=frames.context_frames, dim=frames.dim
    )
    progress = progress or SilentProgress()
    predictor.fit(frames, Training(TrainingConfig(), 0, torch.device("cpu"), None, progress))
    return predictor


# A rotated, stable VAR(1) with correlated noise.
ROTATION = np.linalg.qr(np.random.default_rng(11).normal(size=(DIM, DIM)))[0]
A = ROTATION @ np.diag([0.9, 0.6, -0.3, 0.1]) @ ROTATION.T
Q = np.cov(np.random.default_rng(12).normal(size=(DIM, 3 * DIM))) + 0.2 * np.eye(DIM)
SIGMA = solve_discrete_lyapunov(A, Q)


def var1(utterances, frames, seed):
    """Stationary sequences [utterances, frames, DIM]."""
    random = np.random.default_rng(seed)
    shocks = random.normal(size=(utterances, frames, DIM)) @ np.linalg.cholesky(Q).T
    shocks[:, 0] = random.normal(size=(utterances, DIM)) @ np.linalg.cholesky(SIGMA).T
    for t in range(1, frames):
        shocks[:, t] += shocks[:, t - 1] @ A.T
    return shocks


@cache
def short_utterances(horizon, seed):
    """One frame each, so that frames are independent and errors are known."""
    return latents_of(var1(10_000, W + horizon, seed))


def truth(horizon, target):
    """B_k, S_k and the marginal covariance of docs/calibration.md."""
    power = np.linalg.matrix_power
    if target == "x":
        slope, marginal = power(A, horizon), SIGMA
    else:
        slope = power(A, horizon - 1) @ (A - np.eye(DIM))
        marginal = 2 * SIGMA - A @ SIGMA - SIGMA @ A.T
    return slope, marginal - slope @ SIGMA @ slope.T, marginal


@pytest.mark.parametrize("horizon", [1, 2, 4])
@pytest.mark.parametrize("target", ["delta", "x"])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_hits_the_closed_form_of_a_vector_autoregression(horizon, target, covariance):
    count = 10_000
    train, fresh = (
        windows(short_utterances(horizon, seed), horizon=horizon, target=target) for seed in (1, 2)
    )
    assert len(train) == len(fresh) == count
    predictor = fitted(train, covariance=covariance)
    slope, residual, _ = truth(horizon, target)

    # Coefficients: of variance S_ii (E c c^T)^-1_jj / n, the newest frame's being B_k.
    exact = np.zeros((W, DIM, DIM))
    exact[-1] = slope.T
    apart = predictor.weight.numpy() - exact.reshape(W * DIM, DIM)
    wide = np.block(
        [
            [
                np.linalg.matrix_power(A, i - j) @ SIGMA
                if i >= j
                else (np.linalg.matrix_power(A, j - i) @ SIGMA).T
                for j in range(W)
            ]
            for i in range(W)
        ]
    )
    error = np.sqrt(np.outer(np.diag(np.linalg.inv(wide)), np.diag(residual)) / count)
    assert np.abs(apart / error).max() < 5

    # Residual covariance: of variance (S_ii S_jj + S_ij^2) / n.
    scale = np.sqrt((np.outer(np.diag(residual), np.diag(residual)) + residual**2) / count)
    factor = predictor.factor.numpy()
    found = np.diag(factor**2) if covariance == "diagonal" else factor @ factor.T
    wanted = residual if covariance == "full" else np.diag(np.diag(residual))
    assert np.abs((found - wanted) / scale).max() < 5

    # Held-out NLL: that of the truth, plus half a nat per unknown and training frame.
    batch = fresh.batch(np.arange(count))
    nll = -predictor(batch.context).log_prob(batch.target).numpy()
    entropy = 0.5 * (np.linalg.slogdet(wanted)[1] + DIM * np.log(2 * np.pi * np.e))
    unknowns = W * DIM * DIM + DIM + DIM * (DIM + 1) / 2
    expected = entropy + unknowns / (2 * count)
    assert nll.mean() == pytest.approx(expected, abs=5 * nll.std() / count**0.5)


def test_delta_nll_is_the_closed_form_on_long_utterances():
    count = 20_000
    train, fresh = (frames_of(var1(40, count // 40, seed), horizon=2) for seed in (3, 4))
    batch = fresh.batch(np.arange(len(fresh)))
    _, residual, marginal = truth(2, "delta")
    exact = 0.5 * (np.linalg.slogdet(residual)[1] - np.linalg.slogdet(marginal)[1])
    baseline = stats.multivariate_normal.logpdf(batch.target, np.zeros(DIM), marginal)
    gain = baseline - fitted(train, covariance="full")(batch.context).log_prob(batch.target).numpy()
    by_utterance = gain[: len(gain) // 40 * 40].reshape(40, -1).mean(1)
    assert gain.mean() == pytest.approx(exact, abs=5 * by_utterance.std(ddof=1) / 40**0.5)
    assert abs(exact) > 10 * by_utterance.std(ddof=1) / 40**0.5  # else this says little


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize(
    "task", [{}, {"target": "x"}, {"horizon": 4}, {"horizon": 2, "step": 3}, {"step": 5}]
)
def test_equals_numpys_least_squares(task, scattered):
    random = np.random.default_rng(5)
    frames = frames_of(
        [np.cumsum(random.normal(3, 1, (n, 2)), 0) * 0.1 for n in (90, 7, 60)], **task
    )
    if scattered:
        kept = random.permutation(len(frames))[:60]
        frames = TaskFrames(
            frames.latents,
            frames.utterance[kept],
            frames.t[kept],
            context_frames=W,
            horizon=frames.horizon,
            target=frames.target,
            step=frames.step,
        )
    batch = frames.batch(np.arange(len(frames)))
    features = batch.context.flatten(1).double().numpy()
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    target = batch.target.double().numpy()
    solution, *_ = np.linalg.lstsq(features, target, rcond=None)
    predictor = fitted(frames, ridge=0.0, covariance="full")
    np.testing.assert_allclose(predictor.weight, solution[:-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predictor.bias, solution[-1], rtol=1e-4, atol=1e-5)
    missed = target - features @ solution
    expected = missed.T @ missed / (len(features) - features.shape[1])
    np.testing.assert_allclose(predictor.factor @ predictor.factor.mT, expected, rtol=1e-4)


def test_a_ridge_gives_the_residuals_of_its_own_solution():
    frames = frames_of(var1(5, 40, seed=6))
    predictor = fitted(frames, ridge=0.3)
    batch = frames.batch(np.arange(len(frames)))
    features = batch.context.flatten(1).double().numpy()
    target = batch.target.double().numpy()
    centred, wanted = features - features.mean(0), target - target.mean(0)
    gram = centred.T @ centred
    expected = np.linalg.solve(gram + 0.3 * np.diag(np.diag(gram)), centred.T @ wanted)
    np.testing.assert_allclose(predictor.weight, expected, rtol=1e-5, atol=1e-7)
    missed = wanted - centred @ expected
    variance = (missed**2).sum(0) / (len(target) - 1 - W * DIM)
    np.testing.assert_allclose(predictor.factor.square(), variance, rtol=1e-5)


def test_a_constant_dimension_costs_nothing():
    rows = var1(4, 60, seed=7)
    plain = fitted(frames_of(rows), covariance="full")
    wider = np.concatenate([rows, np.full((4, 60, 1), 7.0)], 2)
    predictor = fitted(frames_of(wider), covariance="full")
    weight = predictor.weight.reshape(W, DIM + 1, DIM + 1)
    assert weight[:, DIM].abs().max() == 0.0
    np.testing.assert_allclose(
        weight[:, :DIM, :DIM].reshape(W * DIM, DIM), plain.weight, rtol=1e-6, atol=1e-9
    )
    covariance = predictor.factor @ predictor.factor.mT
    torch.testing.assert_close(covariance[:DIM, :DIM], plain.factor @ plain.factor.mT)
    assert covariance[DIM, DIM].item() == pytest.approx(1e-6)


def test_repeated_dimensions_raise_the_ridge_and_it_is_said():
    rows = var1(4, 60, seed=8)
    rows[..., 3] = rows[..., 0]
    progress = SilentProgress()
    predictor = fitted(frames_of(rows), progress, ridge=0.0, covariance="full")
    said = " ".join(progress.said)
    assert "linear at k = 1: the context is collinear; the ridge was raised from 0 to 1e-" in said
    assert "linear at k = 1: 1 of 4 residual directions are degenerate and were widened." in said
    batch = frames_of(rows).batch(np.arange(100))
    without = fitted(frames_of(rows[..., :3]))(batch.context[..., :3]).mean
    torch.testing.assert_close(predictor(batch.context).mean[:, :3], without, rtol=1e-3, atol=1e-3)


def test_as_many_unknowns_as_frames_are_an_error():
    message = r"'linear' at horizon 1 needs at least 14 training frames and has 13\.\nUse more or"
    with pytest.raises(LatentbenchError, match=message):
        fitted(frames_of(var1(1, W + 13, seed=9)))
    fitted(frames_of(var1(1, W + 14, seed=9)))
