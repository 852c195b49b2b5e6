import numpy as np
import pytest
import torch
from scipy import stats

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.marginal import Marginal
from latentbench.predictors.plugin import MarginalOptions
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")


def frames_of(*arrays, horizon=1):
    named = {str(i): np.asarray(array, dtype=np.float32) for i, array in enumerate(arrays)}
    latents = Latents.from_arrays(named, dict.fromkeys(named, "s"))
    task = WindowTask(context_frames=2, horizon=horizon, frame_set="own")
    return task.frames(latents, range(len(named)))


def fitted(frames):
    marginal = Marginal(MarginalOptions(), context_frames=2, dim=frames.dim)
    marginal.fit(frames, Training(TrainingConfig(), 0, CPU, None, SILENT))
    return marginal


def test_nll_equals_numpy_in_float64(monkeypatch):
    monkeypatch.setattr("latentbench.predictors.moments.CHUNK_VALUES", 1 << 10)
    random = np.random.default_rng(0)
    rows = [random.normal(100, np.linspace(0.01, 30, 64), (n, 64)) for n in (300, 77, 2)]
    frames = frames_of(*rows)
    marginal = fitted(frames)
    deltas = np.concatenate([np.diff(r.astype(np.float32), axis=0)[1:] for r in rows])
    deltas = deltas.astype(np.float64)
    variance = np.maximum(deltas.var(0, ddof=1), 1e-6)
    expected = -stats.norm.logpdf(deltas, deltas.mean(0), np.sqrt(variance)).sum(1)
    batch = frames.batch(np.arange(len(frames)))
    nll = -marginal(batch.context).log_prob(batch.target)
    assert nll.dtype == torch.float64
    np.testing.assert_allclose(nll.numpy(), expected, rtol=1e-6)
    assert nll.mean().item() == pytest.approx(expected.mean(), rel=1e-6)


def test_a_constant_dimension_has_the_floor_as_its_variance():
    rows = np.random.default_rng(1).normal(size=(50, 3))
    rows[:, 1] = 7.0
    marginal = fitted(frames_of(rows))
    assert marginal.variance[1].item() == 1e-6
    assert marginal.variance[0] > 0.1


def test_the_context_is_ignored_and_gives_the_batch_shape():
    marginal = fitted(frames_of(np.random.default_rng(2).normal(size=(500, 4))))
    density = marginal(torch.full((9, 2, 4), torch.nan))
    assert density.batch_shape == (9,)
    assert density.event_shape == (4,)
    assert density.mean.shape == density.variance.shape == (9, 4)
    assert density.mean.dtype == torch.float32
    assert density.log_prob(torch.zeros(4)).shape == (9,)
    assert density.log_prob(torch.zeros(3, 9, 4)).shape == (3, 9)


def test_samples_have_the_fitted_moments():
    torch.manual_seed(0)
    marginal = fitted(frames_of(np.random.default_rng(3).normal(size=(500, 2)) * [1, 20]))
    density = marginal(torch.zeros(3, 2, 2))
    draws = density.sample((20_000,))
    assert draws.shape == (20_000, 3, 2)
    error = (draws.mean(0) - density.mean) / (density.variance / 20_000).sqrt()
    assert error.abs().max() < 5
    assert ((draws.var(0) / density.variance - 1).abs() < 0.1).all()


def test_what_was_fitted_is_saved_and_loaded():
    marginal = fitted(frames_of(np.random.default_rng(4).normal(size=(50, 3))))
    other = Marginal(MarginalOptions(), context_frames=2, dim=3)
    other.load_state_dict(marginal.state_dict())
    value = torch.randn(1, 3)
    context = torch.zeros(1, 2, 3)
    assert torch.equal(other(context).log_prob(value), marginal(context).log_prob(value))


def test_too_few_frames_are_an_error():
    message = "'marginal' at horizon 5 needs at least 2 training frames and has 1"
    with pytest.raises(LatentbenchError, match=message):
        fitted(frames_of(np.zeros((7, 3)), horizon=5))


def test_latents_that_are_not_finite_are_an_error():
    rows = np.zeros((50, 3))
    rows[20, 1] = np.nan
    with pytest.raises(LatentbenchError, match="training frames at horizon 1 hold values that"):
        fitted(frames_of(rows))
