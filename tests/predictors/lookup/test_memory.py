"""`memory` against the closed forms of a seen Markov chain, plain numpy, and its own parts."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.lookup.memory import MemoryPredictor, mixture_moments
from latentbench.predictors.lookup.options import MemoryOptions
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.markov import markov

W, DIM, STATES = 2, 4, 5
KINDS = ["memory", "param", "hybrid", "residual"]
SMALL = {"width": 32, "gate_width": 8}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world():
    return markov(dim=DIM, states=STATES, sigma=0.05, stay=0.6, chain_seed=1)


def frames_of(x, horizon=1, target="x"):
    arrays = {str(i): one.astype(np.float32) for i, one in enumerate(x)}
    latents = Latents.from_arrays(arrays, {name: name for name in arrays})
    task = WindowTask(W, horizon, target=target, frame_set="own")
    return task.frames(latents, range(len(x)))


def drawn(world, seed, horizon=1, target="x", *, speakers=40, frames=300):
    return frames_of(world.sample(speakers, frames, np.random.default_rng(seed)), horizon, target)


def fitted(frames, *, steps=60, **options):
    torch.manual_seed(0)
    predictor = MemoryPredictor(MemoryOptions(**options), context_frames=W, dim=frames.dim)
    config = TrainingConfig(steps=steps, learning_rate=3e-3)
    predictor.fit(frames, Training(config, 42, CPU, None, SILENT))
    return predictor.eval()


@torch.no_grad()
def log_prob(predictor, frames):
    batch = frames.batch(np.arange(len(frames)))
    return predictor(batch.context).log_prob(batch.target).numpy()


def gain_and_error(world, horizon, target, **options):
    """Gain on new speakers, mean and four standard errors over speakers."""
    train, evaluated = (drawn(world, seed, horizon, target) for seed in (0, 1))
    seeing, blind = fitted(train, **options), fitted(train.without_context(), **options)
    gain = log_prob(seeing, evaluated) - log_prob(blind, evaluated.without_context())
    means = gain.reshape(40, -1).mean(1)
    return means.mean(), 4 * means.std(ddof=1) / math.sqrt(len(means))


@pytest.mark.parametrize(("horizon", "target"), [(1, "x"), (4, "x"), (2, "delta")])
def test_with_exact_keys_the_memory_gains_what_a_gaussian_per_key_can(world, horizon, target):
    gain, error = gain_and_error(world, horizon, target, keys=STATES, temperature=0.02)
    assert error < 0.3
    assert gain == pytest.approx(world.figures(horizon, W, target)["key_gain"], abs=error)


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_network_gains_what_one_sigma_around_the_conditional_mean_can(world, horizon):
    # With one sigma for all the NLL is D/2 ln(2 pi e s^2), s^2 the mean square left over: so the
    # gain is -D/2 ln of the share of squares that the best mean of x_t leaves.
    gain, error = gain_and_error(world, horizon, "x", kind="param", width=64, steps=600)
    truth = -0.5 * DIM * math.log(world.figures(horizon, W, "x")["key_variance_ratio"])
    assert error < 0.2
    assert gain == pytest.approx(truth, abs=error)


@pytest.mark.parametrize("kind", ["hybrid", "residual"])
def test_with_a_network_beside_it_the_gain_is_the_same(world, kind):
    options = {"keys": STATES, "temperature": 0.02, "steps": 300, **SMALL}
    gain, error = gain_and_error(world, 1, "x", kind=kind, **options)
    assert error < 0.3
    assert gain == pytest.approx(world.figures(1, W, "x")["key_gain"], abs=error)


def test_an_empty_memory_leaves_the_network_of_residual_as_it_is(world):
    frames = drawn(world, 2, speakers=4)
    residual = fitted(frames, kind="residual", keys=8, **SMALL)
    other = MemoryPredictor(MemoryOptions(kind="param", **SMALL), context_frames=W, dim=DIM)
    network = {k: v for k, v in residual.state_dict().items() if not k.startswith("memory.")}
    other.load_state_dict(other.state_dict() | network)
    assert not np.allclose(log_prob(residual, frames), log_prob(other.eval(), frames))
    residual.memory.table.codes = residual.memory.table.codes.new_zeros(0)
    assert log_prob(residual, frames) == pytest.approx(log_prob(other, frames), abs=1e-12)


def test_where_training_saw_nothing_residual_says_what_its_network_says(world):
    frames = drawn(world, 2, speakers=4)
    residual = fitted(frames, kind="residual", keys=8, nearest=1, **SMALL)
    table = residual.memory.table
    keep = table.codes != 0
    table.codes = table.codes[keep]
    table.means, table.variances = (
        torch.cat([one[:1], one[1:][keep]]) for one in (table.means, table.variances)
    )
    batch = frames.batch(np.arange(len(frames)))
    with torch.no_grad():
        unseen = residual.memory._keys(frames) == 0
        told, variance = residual._told(residual.standardised(batch.context))
        density = residual(batch.context)
    assert 0 < unseen.sum() < len(unseen)
    assert torch.equal(density.mean[unseen], told[unseen])
    assert density.variance[unseen].numpy() == pytest.approx(float(variance.detach()))
    assert not torch.isclose(density.mean[~unseen], told[~unseen]).all(-1).any()


def test_moments_are_those_of_numpy(world):
    frames = drawn(world, 3, speakers=3, frames=80)
    options = {"keys": 6, "nearest": 3, "temperature": 0.7, "shrinkage": 0.0}
    predictor = fitted(frames, **options)
    batch = frames.batch(np.arange(50))
    x, y = batch.context[:, -1].double().numpy(), frames.targets(np.arange(len(frames)))
    centres = predictor.memory.centroids.double().numpy()
    every = frames.batch(np.arange(len(frames))).context[:, -1].double().numpy()
    key = np.square(every[:, None] - centres).sum(-1).argmin(1)
    y = y.double().numpy()
    density = predictor(batch.context)
    for row in range(50):
        squares = np.square(x[row] - centres).sum(-1)
        near = np.argsort(squares)[:3]
        weight = np.exp(-(squares[near] - squares[near].min()) / 0.7)
        weight /= weight.sum()
        mean = sum(w * y[key == i].mean(0) for w, i in zip(weight, near, strict=True))
        second = sum(
            w * (y[key == i].var(0) + y[key == i].mean(0) ** 2)
            for w, i in zip(weight, near, strict=True)
        )
        assert density.mean[row].numpy() == pytest.approx(mean, rel=1e-6, abs=1e-6)
        assert density.variance[row].numpy() == pytest.approx(second - mean**2, rel=1e-4)
        expected = multivariate_normal(mean, np.diag(second - mean**2)).logpdf(y[row])
        assert float(density.log_prob(batch.target)[row]) == pytest.approx(expected, abs=1e-3)


def test_one_part_of_all_the_weight_is_the_mixture():
    means, variances = torch.randn(5, 2, 3), torch.rand(5, 2, 3)
    mean, variance = mixture_moments(torch.tensor([[0.0, 1.0]]).expand(5, 2), means, variances)
    assert torch.equal(mean, means[:, 1])
    assert torch.equal(variance, variances[:, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_all_there_is(world, kind):
    frames = drawn(world, 5, speakers=3, frames=60)
    options = {"kind": kind, "keys": 7, **SMALL}
    one = fitted(frames, steps=5, **options)
    other = MemoryPredictor(MemoryOptions(**options), context_frames=W, dim=DIM)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(log_prob(one, frames), log_prob(other.eval(), frames))


def test_frames_that_are_not_finite_are_refused(world):
    x = world.sample(2, 60, np.random.default_rng(0))
    x[0, 5, 0] = np.nan
    with pytest.raises(LatentbenchError, match="hold values that are not finite"):
        fitted(frames_of(x))


def test_frames_that_repeat_answer_by_what_followed_them_however_many_keys_there_are():
    # Digital silence repeats to the bit: fewer distinct frames than keys, whose rest have nothing.
    random = np.random.default_rng(3)
    states = random.choice(3, size=300, p=[0.8, 0.1, 0.1])
    places = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    frames = frames_of([places[states]])
    predictor = fitted(frames, keys=2_048, shrinkage=0.0, temperature=0.1)
    batch = frames.batch(np.arange(len(frames)))
    with torch.no_grad():
        told = predictor(batch.context).mean.numpy()
    before, after = states[W - 1 : -1], places[states[W:]]
    for state in range(3):
        here = before == state
        expected = np.tile(after[here].mean(0), (here.sum(), 1))
        np.testing.assert_allclose(told[here], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["param", "hybrid", "residual"])
def test_network_and_gate_see_the_same_noise(kind, monkeypatch):
    options = MemoryOptions(kind=kind, width=8, context_noise=1.0)
    predictor = MemoryPredictor(options, context_frames=W, dim=DIM).train()
    drawn = []
    monkeypatch.setattr(predictor, "noisy", lambda scaled: drawn.append(scaled) or scaled)
    predictor(torch.zeros(2, W, DIM))
    assert len(drawn) == 1
