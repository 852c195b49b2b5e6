"""No predictor sees past its context, and no score depends on company or order."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.config import ComponentConfig, TrainingConfig, build_options
from latentbench.latents import Latents
from latentbench.metrics.columns import cosine, log_norm_mean, nll
from latentbench.metrics.scoring import score
from latentbench.plugins import load_registry
from latentbench.predictors import Training
from latentbench.progress import SILENT
from latentbench.specs import option_fields
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
DIM, CONTEXT_FRAMES, LENGTH = 3, 4, 40
REGISTRY = load_registry()
SMALL = {"width": 8, "components": 2}
GIVEN = {"exact": {"world": "ar1", "parameters": {"dim": DIM}}}
PREDICTORS = [
    component.spec.name
    for component in REGISTRY.of_kind("predictor")
    if component.provider.distribution == "latentbench"
]


def noise(utterances=6):
    random = np.random.default_rng(0)
    return {
        f"u{i}": random.normal(size=(LENGTH, DIM)).astype(np.float32) for i in range(utterances)
    }


def latents_of(arrays):
    return Latents.from_arrays(arrays, {name: name for name in arrays})


@cache
def fitted(name, horizon, target, step):
    component = REGISTRY.get("predictor", name)
    chosen = GIVEN.get(name, {})
    names = {option.name for option in option_fields(component.spec.options)}
    chosen = chosen | {key: value for key, value in SMALL.items() if key in names}
    options = build_options(ComponentConfig(name=name, **chosen), "predictor", REGISTRY)
    torch.manual_seed(0)
    predictor = component.create(options, context_frames=CONTEXT_FRAMES, dim=DIM)
    task = WindowTask(CONTEXT_FRAMES, horizon, target=target, step=step)
    config = TrainingConfig(steps=5, batch_size=16)
    frames = task.frames(latents_of(noise()), range(6))
    predictor.fit(frames, Training(config, 0, CPU, None, SILENT))
    return predictor.eval(), task


def densities(predictor, task, array, t, target):
    """What the predictor says of frame t: its mean and the log-density of a fixed target."""
    frames = task.frames(latents_of({"u": array}), [0])
    which = np.flatnonzero(frames.t == t)
    context = frames.batch(which).context
    torch.manual_seed(0)
    with torch.no_grad():
        density = predictor(context)
        return torch.cat([density.mean.double()[0], density.log_prob(target).double().reshape(1)])


@pytest.mark.parametrize("name", PREDICTORS)
@settings(max_examples=12, deadline=None)
@given(
    asked=st.sampled_from([(1, "delta", 1), (2, "delta", 3), (2, "x", 1), (5, "delta", 1)]),
    t=st.integers(min_value=9, max_value=LENGTH - 1),
    size=st.sampled_from([1e-2, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_frames_after_the_context_move_no_prediction(name, asked, t, size, seed):
    horizon, target, step = asked
    # The exact density of a change over several frames is not known.
    predictor, task = fitted(name, horizon, target, 1 if name == "exact" else step)
    random = np.random.default_rng(seed)
    array = random.normal(size=(LENGTH, DIM)).astype(np.float32)
    changed = array.copy()
    changed[t - horizon + 1 :] += size * random.normal(size=(LENGTH - t + horizon - 1, DIM))
    wanted = torch.from_numpy(random.normal(size=(1, DIM)).astype(np.float32))
    before = densities(predictor, task, array, t, wanted)
    assert torch.equal(before, densities(predictor, task, changed, t, wanted))


@pytest.mark.parametrize("name", PREDICTORS)
def test_the_newest_frame_of_the_context_is_seen_by_those_that_look_at_any(name):
    """What the test above relies on: a change inside the context does move a prediction."""
    predictor, task = fitted(name, 2, "delta", 1)
    array = noise()["u0"]
    changed = array.copy()
    changed[20 - 2] += 1
    wanted = torch.zeros(1, DIM)
    same = torch.equal(
        densities(predictor, task, array, 20, wanted),
        densities(predictor, task, changed, 20, wanted),
    )
    blind = {"marginal", "marginal-full", "marginal-mdn"}
    assert same == (name in blind)


def scores(name, order, batch_size):
    """Each score by utterance and frame, of utterances in that order."""
    predictor, task = fitted(name, 2, "delta", 1)
    baseline, _ = fitted("marginal", 2, "delta", 1)
    arrays = noise()
    latents = latents_of({key: arrays[key] for key in order})
    frames = task.frames(latents, range(len(order)))
    columns = {"nll": nll, "cosine": cosine, "log_norm_mean": log_norm_mean}
    found = score(
        predictor, baseline, frames, columns, max_frames=10**6, batch_size=batch_size, device=CPU
    )
    places = [
        (latents.utterances[u].id, int(t)) for u, t in zip(frames.utterance, frames.t, strict=True)
    ]
    return {
        (column, *place): value
        for column, values in found.items()
        for place, value in zip(places, values.tolist(), strict=True)
    }


@pytest.mark.parametrize("name", PREDICTORS)
def test_scores_depend_neither_on_the_order_of_utterances_nor_on_the_batch_size(name):
    names = list(noise())
    expected = scores(name, names, 2048)
    assert len(expected) == 3 * 6 * (LENGTH - 7)
    for order in (names[::-1], names[3:] + names[:3]):
        assert scores(name, order, 2048) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for batch_size in (1, 7):
        assert scores(name, names, batch_size) == pytest.approx(expected, rel=1e-5, abs=1e-5)
