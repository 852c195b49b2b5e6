import numpy as np
import pytest
import torch

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError, UsageError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.persistence import Persistence
from latentbench.predictors.plugin import PersistenceOptions
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

W = 4


def frames_of(rows, **task):
    latents = Latents.from_arrays({"u": np.asarray(rows, dtype=np.float32)}, {"u": "s"})
    return WindowTask(frame_set="own", **{"context_frames": W, **task}).frames(latents, [0])


def fitted(frames, **options):
    predictor = Persistence(
        PersistenceOptions(**options), context_frames=frames.context_frames, dim=frames.dim
    )
    predictor.fit(frames, Training(TrainingConfig(), 0, torch.device("cpu"), None, SILENT))
    return predictor


def walk(frames=400, dim=3, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(1, [1, 3, 9], (frames, dim)), 0)


CASES = [
    {"target": "x", "horizon": 1},
    {"target": "x", "horizon": 3},
    {"target": "delta", "horizon": 1},
    {"target": "delta", "horizon": 3},
    {"target": "delta", "horizon": 2, "step": 3},
]


@pytest.mark.parametrize("gain", ["one", "fitted"])
@pytest.mark.parametrize("task", CASES)
def test_equals_its_formula_in_numpy(task, gain):
    x = walk().astype(np.float32)
    frames = frames_of(x, **task)
    x, k, m = x.astype(np.float64), task["horizon"], task.get("step", 1)
    t = np.arange(W - 1 + k, len(x))
    if task["target"] == "x":
        y, s = x[t], x[t - k]
    else:
        y, s = x[t] - x[t - m], x[t - k] - x[t - k - m]
    predicted = s
    dof = len(t)
    if gain == "fitted":
        slope = [np.polyfit(s[:, d], y[:, d], 1) for d in range(3)]
        predicted = np.stack([np.polyval(slope[d], s[:, d]) for d in range(3)], 1)
        dof -= 2
    variance = ((y - predicted) ** 2).sum(0) / dof
    expected = 0.5 * ((y - predicted) ** 2 / variance + np.log(2 * np.pi * variance)).sum(1)
    batch = frames.batch(np.arange(len(frames)))
    density = fitted(frames, gain=gain)(batch.context)
    np.testing.assert_allclose(density.mean, predicted, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(-density.log_prob(batch.target), expected, rtol=1e-5)


def test_of_a_random_walk_the_last_frame_is_the_best_forecast():
    """With steps of variance 1, x_t given x_{t-k} has variance k."""
    random = np.random.default_rng(1)
    frames = frames_of(np.cumsum(random.normal(size=(40_000, 2)), 0), target="x", horizon=4)
    predictor = fitted(frames)
    # Overlapping sums of 4: at most 40,000 / 4 independent ones.
    assert predictor.sigma.square().tolist() == pytest.approx(
        [4.0] * 2, rel=5 * (2 / 10_000) ** 0.5
    )


def test_the_fitted_gain_of_white_noise_is_minus_a_half():
    """cov(x_t - x_{t-1}, x_{t-1} - x_{t-2}) = -var(x), at k = 1; 0 at k = 2."""
    rows = np.random.default_rng(2).normal(size=(40_000, 2))
    for horizon, gain in ((1, -0.5), (2, 0.0)):
        found = fitted(frames_of(rows, target="delta", horizon=horizon), gain="fitted")
        assert found.gain.tolist() == pytest.approx([gain] * 2, abs=5 / 40_000**0.5)


def test_a_constant_dimension_is_predicted_exactly_with_the_floor():
    rows = walk()
    rows[:, 1] = 7.0
    for gain in ("one", "fitted"):
        predictor = fitted(frames_of(rows, target="delta", horizon=1), gain=gain)
        assert predictor.sigma[1].item() == pytest.approx(1e-3)
        assert predictor(torch.full((1, W, 3), 7.0)).mean[0, 1].item() == 0.0


def test_a_change_longer_than_the_window_is_an_error():
    with pytest.raises(UsageError, match=r"sees no change over 1 frame\(s\) in a window of 1 "):
        fitted(frames_of(walk(), target="delta", horizon=1, context_frames=1))
    fitted(frames_of(walk(), target="x", horizon=1, context_frames=1))


def test_too_few_frames_are_an_error():
    with pytest.raises(LatentbenchError, match="'persistence' at horizon 1 needs at least 3"):
        fitted(frames_of(walk(frames=6), target="x", horizon=1))


@pytest.mark.parametrize("gain", ["one", "fitted"])
def test_without_a_context_it_is_the_marginal(gain):
    """Else latents away from 0 would give it a gain that no context brings."""
    frames = frames_of(5.0 + walk(), target="x", horizon=2).without_context()
    batch = frames.batch(np.arange(len(frames)))
    density = fitted(frames, gain=gain)(batch.context)
    y = batch.target.double()
    torch.testing.assert_close(density.mean[0].double(), y.mean(0), rtol=1e-6, atol=0)
    spread = y.var(0) * (len(y) - 1) / (len(y) - 2)
    torch.testing.assert_close(density.variance[0].double(), spread, rtol=1e-5, atol=0)
