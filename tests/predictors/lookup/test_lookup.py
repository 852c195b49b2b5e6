"""`lookup` against the closed form of a seen Markov chain and against plain numpy."""

import math

import numpy as np
import pytest
import torch

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.lookup import clusters
from latentbench.predictors.lookup.options import LookupOptions
from latentbench.predictors.lookup.predictor import Lookup
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.markov import markov

W, DIM, STATES = 3, 4, 5
KEYS = ["last-kmeans", "mean-kmeans", "flat-kmeans", "pca-kmeans", "pca-quartile", "rvq"]


@pytest.fixture(scope="module")
def world():
    return markov(dim=DIM, states=STATES, sigma=0.05, stay=0.6, chain_seed=1)


def frames_of(x, horizon=1, target="x"):
    names = list(map(str, range(len(x))))
    arrays = dict(zip(names, x.astype(np.float32), strict=True))
    latents = Latents.from_arrays(arrays, {name: name for name in names})
    task = WindowTask(W, horizon, target=target, frame_set="own")
    return task.frames(latents, range(len(x)))


def drawn(world, seed, horizon=1, target="x", *, speakers=40, frames=400):
    return frames_of(world.sample(speakers, frames, np.random.default_rng(seed)), horizon, target)


def fitted(frames, seed=42, **options):
    predictor = Lookup(LookupOptions(**options), context_frames=W, dim=frames.dim)
    predictor.fit(frames, Training(TrainingConfig(), seed, torch.device("cpu"), None, SILENT))
    return predictor.eval()


def log_prob(predictor, frames):
    batch = frames.batch(np.arange(len(frames)))
    return predictor(batch.context).log_prob(batch.target).double().numpy()


def gain_and_error(world, horizon, target, **options):
    """Gain on new speakers, mean and four standard errors over speakers."""
    train, evaluated = (drawn(world, seed, horizon, target) for seed in (0, 1))
    seeing, blind = fitted(train, **options), fitted(train.without_context(), **options)
    per_frame = log_prob(seeing, evaluated) - log_prob(blind, evaluated.without_context())
    means = per_frame.reshape(40, -1).mean(1)
    return means.mean(), 4 * means.std(ddof=1) / math.sqrt(len(means))


@pytest.mark.parametrize(("horizon", "target"), [(1, "x"), (2, "x"), (8, "x"), (2, "delta")])
def test_one_gaussian_per_key_reaches_the_closed_form(world, horizon, target):
    gain, error = gain_and_error(world, horizon, target, keys=STATES)
    truth = world.figures(horizon, W, target)["key_gain"]
    assert error < 0.3
    assert gain == pytest.approx(truth, abs=error)


@pytest.mark.parametrize("horizon", [1, 2, 8])
def test_a_mixture_of_target_codes_reaches_all_of_the_gain(world, horizon):
    gain, error = gain_and_error(world, horizon, "x", keys=STATES, target_codes=STATES)
    figures = world.figures(horizon, W, "x")
    assert error < 0.15
    assert gain == pytest.approx(figures["gain"], abs=error)
    assert gain < figures["key_ceiling"]


def test_means_and_variances_are_those_of_the_definition(world):
    frames = drawn(world, 3, speakers=4, frames=60)
    predictor = fitted(frames, key="rvq", keys=4, shrinkage=7.0)
    batch = frames.batch(np.arange(len(frames)))
    y = batch.target.double().numpy()
    keys = predictor.keys(batch.context).numpy()
    m, v = y.mean(0), y.var(0, ddof=1)
    assert len(np.unique(keys)) == predictor.table.in_use > 4
    density = predictor(batch.context)
    for key in np.unique(keys):
        own = y[keys == key]
        n, a = len(own), 7.0
        mean = (own.sum(0) + a * m) / (n + a)
        apart = n * a / (n + a) * np.square(own.mean(0) - m)
        variance = (np.square(own - own.mean(0)).sum(0) + apart + a * v) / (n + a)
        row = int(np.flatnonzero(keys == key)[0])
        assert density.mean[row].numpy() == pytest.approx(mean, rel=1e-9, abs=1e-12)
        assert density.variance[row].numpy() == pytest.approx(variance, rel=1e-9)


def test_a_key_that_training_did_not_see_has_the_marginal(world):
    predictor = fitted(drawn(world, 3, speakers=4, frames=60))
    unseen = torch.tensor([-5, 10**12])
    assert predictor.table.rows(unseen).tolist() == [0, 0]
    blind = fitted(drawn(world, 3, speakers=4, frames=60).without_context())
    mean = blind(torch.randn(1, W, DIM)).mean[0]
    # The mean of what is left after the mean was taken away is rounding.
    assert mean.numpy() == pytest.approx(predictor.table.means[0].numpy(), abs=1e-12)


def test_the_keys_of_pca_are_those_of_its_eigenvectors(world):
    frames = drawn(world, 4, speakers=6, frames=80)
    predictor = fitted(frames, key="pca-quartile", pca=2)
    flat = frames.batch(np.arange(len(frames))).context.flatten(1).double().numpy()
    _, vectors = np.linalg.eigh(np.cov(flat.T))
    scores = (flat - flat.mean(0)) @ vectors[:, ::-1][:, :2]
    ours = predictor.keys.features(frames.batch(np.arange(len(frames))).context).numpy()
    signs = np.sign((scores * ours).sum(0))
    assert ours == pytest.approx(scores * signs, abs=1e-5)
    # Quarters of the training frames: one fourth of them in each, whatever the axis.
    keys = predictor.keys(frames.batch(np.arange(len(frames))).context).numpy()
    for component in range(2):
        share = np.bincount(keys // 4**component % 4, minlength=4) / len(keys)
        assert share == pytest.approx(np.full(4, 0.25), abs=2 / len(keys))


@pytest.mark.parametrize("key", KEYS)
def test_what_is_saved_is_all_there_is(world, key):
    frames = drawn(world, 5, speakers=4, frames=60)
    options = LookupOptions(key=key, target_codes=3)
    one = fitted(frames, key=key, target_codes=3)
    other = Lookup(options, context_frames=W, dim=DIM)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(log_prob(one, frames), log_prob(other.eval(), frames))


@pytest.mark.parametrize("key", KEYS)
def test_fewer_different_contexts_than_keys_are_no_error(key):
    x = np.tile(np.array([[[0.0, 1.0], [1.0, 0.0]]]), (3, 8, 1))
    assert np.isfinite(log_prob(fitted(frames_of(x), key=key), frames_of(x))).all()


def test_frames_that_are_not_finite_are_refused(world):
    x = world.sample(2, 60, np.random.default_rng(0))
    x[0, 0, 0] = np.nan
    with pytest.raises(LatentbenchError, match="hold values that are not finite"):
        fitted(frames_of(x))


@pytest.mark.parametrize("frames", [0, 1, 50])
def test_the_nearest_centroid_is_found_some_frames_at_a_time(frames, monkeypatch):
    """Of 2,048 keys the distances of all frames of a chunk took 5 GiB."""
    monkeypatch.setattr(clusters, "CHUNK_VALUES", 7 * 4)
    features, centroids = torch.randn(frames, 3), torch.randn(4, 3)
    expected = torch.cdist(features, centroids).argmin(-1)
    assert torch.equal(clusters.nearest_centroid(features, centroids), expected)
