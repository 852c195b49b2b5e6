"""Training on own frames: what one gain and one sigma come to, in closed form."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn
from torch.distributions import Independent, Normal

from latentbench.config import TrainingConfig, UnrollingConfig, read_layers, resolve
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.predictors import Predictor, Training
from latentbench.predictors.training import Descent, train
from latentbench.predictors.unrolling import Unrolled, Unrolling
from latentbench.progress import SILENT, SilentProgress
from latentbench.tasks import WindowTask

A, DIM = 0.8, 3
CPU = torch.device("cpu")


class OneGain(Predictor):
    """A Gaussian around a multiple of the newest frame; the multiple and sigma are learned."""

    def __init__(self):
        super().__init__(context_frames=1, dim=DIM)
        self.gain = nn.Parameter(torch.tensor(0.3))
        self.log_sigma = nn.Parameter(torch.tensor(0.0))

    def fit(self, train_frames, training):
        train(self, train_frames, training)

    def forward(self, context):
        mean = self.gain * context[:, -1]
        return Independent(Normal(mean, self.log_sigma.exp().expand_as(mean)), 1)


def ar1(rho, shape, rng):
    noise = rng.standard_normal((*shape, DIM))
    x = [noise[:, 0]]
    for t in range(1, shape[1]):
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * noise[:, t])
    return np.stack(x, 1)


def frames_of(x, context=1, horizon=1, target="x", step=1):
    named = {str(i): one.astype(np.float32) for i, one in enumerate(x)}
    latents = Latents.from_arrays(named, {name: name for name in named})
    task = WindowTask(context, horizon, target, frame_set="own", step=step)
    return task.frames(latents, range(len(x)))


@pytest.fixture(scope="module")
def world():
    return frames_of(ar1(A, (60, 200), np.random.default_rng(0)))


def fitted(frames, descents=600, seed=0, **rollout):
    torch.manual_seed(seed)
    model = OneGain()
    config = TrainingConfig(
        steps=descents, learning_rate=0.005, batch_size=1_024, sampling="uniform", weight_decay=0.0,
        rollout=UnrollingConfig(**rollout),
    )  # fmt: skip
    model.fit(frames, Training(config, seed, CPU, None, SILENT))
    return float(model.gain.detach()), float(model.log_sigma.detach().exp())


ALONE = {"teacher_weight": 0.0, "state_weight": 0.0, "teacher_probability": 0.0}


def test_of_the_right_model_the_gain_stays_and_sigma_is_that_of_all_depths(world):
    # The mean j + 1 steps ahead is a^(j+1) x: own contexts do not help an AR(1), they blur it.
    gain, sigma = fitted(world, descents=600, **ALONE | {"steps": 4})
    assert gain == pytest.approx(A, abs=0.02)
    expected = np.mean([1 - A ** (2 * (j + 1)) for j in range(4)])
    assert sigma**2 == pytest.approx(expected, rel=0.05)
    taught, narrow = fitted(world)
    assert taught == pytest.approx(A, abs=0.02)
    assert narrow**2 == pytest.approx(1 - A**2, rel=0.05)


def test_of_a_model_that_sees_too_little_the_gain_is_the_best_over_all_steps():
    # x = s + noise, s an AR(1): lag j correlates by c a^j, so one step asks for a gain of c a, and
    # what is iterated has to decay slower. The minimum over K steps is found by scipy.
    rng, c, count = np.random.default_rng(1), 0.6, 6
    state = ar1(A, (80, 200), rng)
    x = math.sqrt(c) * state + math.sqrt(1 - c) * rng.standard_normal(state.shape)
    lags = np.arange(1, count + 1)

    def missed(gain):
        return np.sum(1 - 2 * gain**lags * c * A**lags + gain ** (2 * lags))

    best = minimize_scalar(missed, bounds=(0, 1), method="bounded").x
    frames = frames_of(x)
    assert best - c * A > 0.1
    assert fitted(frames)[0] == pytest.approx(c * A, abs=0.02)
    assert fitted(frames, descents=600, **ALONE | {"steps": count})[0] == pytest.approx(
        best, abs=0.02
    )


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_noise_on_contexts_attenuates_the_gain_as_a_regression_on_noise(world, noise):
    gain, sigma = fitted(world, noise=noise)
    expected = A / (1 + noise**2)
    assert gain == pytest.approx(expected, abs=0.03)
    assert sigma**2 == pytest.approx(1 - A * expected, rel=0.05)


@pytest.mark.parametrize("rollout", [{"noise": 0.5}, {"noise": 0.5, "steps": 1}])
def test_a_last_batch_of_one_frame_is_trained_on(rollout):
    # 33 frames of a window of one, 16 in a batch: the third batch of an epoch holds one.
    frames = frames_of(ar1(A, (1, 34), np.random.default_rng(5)))
    assert len(frames) == 33
    config = TrainingConfig(steps=7, batch_size=16, rollout=UnrollingConfig(**rollout))
    model = OneGain()
    model.fit(frames, Training(config, 0, CPU, None, SILENT))
    assert model.gain.isfinite()
    assert model.log_sigma.isfinite()


class Notes(SilentProgress):
    """What is noted of a task."""

    def __init__(self):
        self.notes = []

    @contextmanager
    def task(self, *_, **__):
        yield self

    def advance(self, amount=1.0):
        pass

    def note(self, text):
        self.notes.append(text)


def test_a_batch_holds_as_many_stretches_however_short_utterances_are(monkeypatch):
    frames = frames_of(ar1(A, (40, 20), np.random.default_rng(5)))  # four stretches in each
    sizes = []
    monkeypatch.setattr(
        Unrolling, "loss", lambda _, model, batch, __: sizes.append(len(batch.target)) or model.gain
    )
    config = TrainingConfig(steps=3, batch_size=64, rollout=UnrollingConfig(steps=16))
    progress = Notes()
    OneGain().fit(frames, Training(config, 0, CPU, None, progress, validation=frames))
    assert sizes == [64, 64, 32]  # the third ends an epoch of 160
    assert [one.rpartition(" ")[0] for one in progress.notes] == ["loss", "NLL of validation"]


def loss_of(frames, model, step=1, **rollout):
    config = UnrollingConfig(**rollout)
    units = Unrolled(frames, config.steps)
    batch = units.batch(np.arange(50))
    return Unrolling(config, frames).loss(model, batch, step), batch


@pytest.mark.parametrize(("k", "target", "m"), [(1, "x", 1), (2, "x", 1), (2, "delta", 3)])
def test_the_loss_is_that_of_a_plain_loop(k, target, m):
    x = ar1(A, (5, 60), np.random.default_rng(2))
    frames = frames_of(x, 1, k, target, m)
    model, count = OneGain(), 5
    weights = {"weight": 0.7, "teacher_weight": 0.2, "state_weight": 0.3}
    found, batch = loss_of(frames, model, steps=count, teacher_probability=0.0, clip=1e6, **weights)
    every = batch.context
    before = every.shape[1] - count
    deviation = every.flatten(0, 1).std(0)
    own, rolled, taught, state = every[:, :before].clone(), 0.0, 0.0, 0.0
    for one in range(count):
        truth = every[:, before + one]
        y = truth - every[:, before + one - m] if target == "delta" else truth
        assert torch.allclose(y, batch.target[:, one])
        context = own[:, own.shape[1] - k]
        rolled -= model(context[:, None]).log_prob(y).mean() / count
        taught -= model(every[:, before + one - k][:, None]).log_prob(y).mean() / count
        made = 0.3 * context + (own[:, own.shape[1] - m] if target == "delta" else 0.0)
        state += (((made - truth) / deviation) ** 2).sum(-1).mean() / count
        own = torch.cat([own, made[:, None]], 1)
    expected = 0.7 * rolled + 0.2 * taught + 0.3 * state
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_true_frame_given_back_every_time_leaves_the_loss_of_true_contexts(world):
    model = OneGain()
    both, _ = loss_of(
        world, model, steps=4, teacher_probability=1.0, teacher_steps=10**6, state_weight=0.0
    )
    taught, _ = loss_of(world, model, steps=4, start=1)
    assert both.item() == pytest.approx(1.1 * taught.item(), rel=1e-5)


def test_the_probability_of_true_frames_falls_to_0():
    plan = Unrolling(UnrollingConfig(start=100), None)
    found = [plan.teacher_probability(step) for step in (100, 1_100, 2_100, 9_000)]
    assert found == pytest.approx([0.2, 0.1, 0.0, 0.0])


def test_a_move_is_kept_within_the_clip():
    frames = frames_of(ar1(A, (5, 60), np.random.default_rng(2)))
    model = OneGain()
    with torch.no_grad():
        model.gain.fill_(1e9)
    found, batch = loss_of(frames, model, steps=3, **ALONE | {"weight": 0.0, "state_weight": 1.0})
    scale = batch.target.flatten(0, 1).std(0)
    furthest = (batch.context.abs().amax((0, 1)) + 5.0 * scale) / batch.context.flatten(0, 1).std(0)
    assert found.item() < 2 * float(furthest.square().sum())


def test_samples_pass_no_gradient_to_the_frames_after_them(world):
    model = OneGain()
    torch.manual_seed(0)
    only_state = ALONE | {"weight": 0.0, "state_weight": 1.0}
    found, _ = loss_of(world, model, steps=3, mode="sample", **only_state)
    found = found + 0.0 * model.gain
    found.backward()
    assert model.gain.grad == 0.0


PREDICTORS = [
    "{name: mdn, width: 8}",
    "{name: mdn-robust, width: 8}",
    "{name: memory, kind: param, width: 8}",
    "{name: memory, kind: hybrid, width: 8, keys: 4}",
    "{name: engram, width: 8, codes: 4, rows: 8}",
    "{name: rssm, width: 8, head_width: 8}",
    *(
        f"{{name: neural, width: 8, head_width: 8, backbone: {backbone}, head: {head}}}"
        for backbone, head in [
            ("mlp", "gaussian"), ("gru", "student"), ("transformer", "mdn"), ("mlp", "flow"),
            ("mlp", "energy"), ("mlp", "vmf"),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["mean", "sample"])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_every_predictor_that_descends_can_be_trained_so(predictor, mode):
    frames = frames_of(ar1(A, (4, 60), np.random.default_rng(3)), context=3)
    registry = load_registry()
    layers = [f"predictor={predictor}", "training.steps=3", "training.batch_size=8",
              "training.rollout.steps=3", f"training.rollout.mode={mode}"]  # fmt: skip
    config = resolve(read_layers(None, None, layers), registry)
    torch.manual_seed(0)
    made = registry.get("predictor", config.predictor.name).create(
        config.predictor.options, context_frames=3, dim=DIM
    )
    before = [one.detach().clone() for one in made.parameters()]
    made.fit(frames, Training(config.training, 0, CPU, None, SILENT))
    assert all(one.isfinite().all() for one in made.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True))


def test_without_a_context_nothing_is_rolled_out(world):
    config = TrainingConfig(rollout=UnrollingConfig(steps=4, noise=1.0))
    descent = Descent(OneGain(), Training(config, 0, CPU, None, SILENT))
    blind = world.without_context()
    assert descent.units(blind) is blind
    assert descent.unrolling is None
    assert descent.noise == 0.0


def test_utterances_that_are_too_short_are_told():
    frames = frames_of(ar1(A, (3, 6), np.random.default_rng(0)))
    with pytest.raises(LatentbenchError, match="frames in a row to predict"):
        Unrolled(frames, 9)


def test_a_run_without_it_has_the_digest_it_had():
    plain = TrainingConfig().model_dump()
    assert "rollout" not in plain
    assert TrainingConfig(rollout={"steps": 2}).model_dump()["rollout"]["steps"] == 2
