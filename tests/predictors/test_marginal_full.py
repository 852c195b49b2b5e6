import numpy as np
import pytest
import torch
from scipy import stats

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.marginal import FullMarginal, Marginal
from latentbench.predictors.plugin import MarginalFullOptions, MarginalOptions
from latentbench.progress import SilentProgress
from latentbench.tasks import WindowTask


def frames_of(*arrays, **task):
    named = {str(i): np.asarray(array, dtype=np.float32) for i, array in enumerate(arrays)}
    latents = Latents.from_arrays(named, dict.fromkeys(named, "s"))
    task = WindowTask(context_frames=2, horizon=1, frame_set="own", **task)
    return task.frames(latents, range(len(named)))


def fitted(frames, progress=None):
    marginal = FullMarginal(MarginalFullOptions(), context_frames=2, dim=frames.dim)
    progress = progress or SilentProgress()
    marginal.fit(frames, Training(TrainingConfig(), 0, torch.device("cpu"), None, progress))
    return marginal


def mixed_rows(frames, dim, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(10, 1, (frames, dim)) @ random.normal(size=(dim, dim))


@pytest.mark.parametrize("task", [{}, {"target": "x"}, {"step": 3}])
def test_nll_equals_scipy_in_float64(task):
    frames = frames_of(mixed_rows(200, 5), mixed_rows(90, 5, seed=1), **task)
    batch = frames.batch(np.arange(len(frames)))
    targets = batch.target.numpy().astype(np.float64)
    covariance = np.cov(targets.T, ddof=1)
    expected = -stats.multivariate_normal.logpdf(targets, targets.mean(0), covariance)
    found = -fitted(frames)(batch.context).log_prob(batch.target)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nll_changes_by_the_log_determinant_under_any_linear_map():
    rows = mixed_rows(400, 4)
    matrix = np.random.default_rng(5).normal(size=(4, 4))
    plain, mapped = frames_of(rows), frames_of(rows @ matrix)
    one, other = (
        fitted(each)(torch.zeros(len(each), 2, 4)).log_prob(each.targets(np.arange(len(each))))
        for each in (plain, mapped)
    )
    shift = np.log(abs(np.linalg.det(matrix)))
    np.testing.assert_allclose(one - other, shift, atol=1e-4)  # frames are float32


def test_degenerate_directions_are_widened_and_said():
    rows = mixed_rows(300, 6)
    rows[:, 1] = 7.0  # constant
    rows[:, 4] = rows[:, 2]  # repeated
    progress = SilentProgress()
    marginal = fitted(frames_of(rows), progress)
    assert progress.said == [
        "marginal-full at k = 1: 2 of 6 directions are degenerate and were widened."
    ]
    assert marginal.factor.isfinite().all()
    assert (marginal.factor @ marginal.factor.mT)[1, 1].item() == pytest.approx(1e-6)


def test_fewer_frames_than_dimensions_are_enough():
    marginal = fitted(frames_of(mixed_rows(12, 20)))
    assert marginal(torch.zeros(3, 2, 20)).log_prob(torch.randn(3, 20)).isfinite().all()


def test_of_independent_dimensions_it_is_the_diagonal_marginal():
    rows = np.random.default_rng(3).normal(size=(20_000, 3)) * [1, 10, 0.1]
    frames = frames_of(rows)
    diagonal = Marginal(MarginalOptions(), context_frames=2, dim=3)
    diagonal.fit(frames, Training(TrainingConfig(), 0, torch.device("cpu"), None, SilentProgress()))
    target, context = frames.targets(np.arange(5000)), torch.zeros(5000, 2, 3)
    gain = (fitted(frames)(context).log_prob(target) - diagonal(context).log_prob(target)).mean()
    assert abs(gain.item()) < 5e-4  # three correlations of size 1/sqrt(20,000)


def test_too_few_frames_are_an_error():
    with pytest.raises(LatentbenchError, match="'marginal-full' at horizon 1 needs at least 2"):
        fitted(frames_of(np.zeros((3, 2))))
