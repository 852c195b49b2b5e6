"""Crops hold every training frame once with its context; training on them resumes to the bit."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from latentbench.errors import UsageError
from latentbench.metrics.columns import nll, nll_baseline, nll_x_baseline
from latentbench.metrics.controls import Controls
from latentbench.metrics.scoring import score
from latentbench.predictors import training
from latentbench.predictors.marginal import Marginal
from latentbench.predictors.plugin import MarginalOptions
from latentbench.predictors.sequences import Crops, stretches
from latentbench.progress import SilentProgress
from latentbench.rollout.engine import rollout, rollout_frames

CPU = torch.device("cpu")


@pytest.mark.parametrize("reach", [3, 25])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_every_frame_is_in_one_crop_with_its_target_and_all_of_its_context(utterances, size, reach):
    frames = utterances()
    crops = Crops(frames, size, reach)
    seen = 0
    for number in range(len(crops)):
        batch = crops.batch(np.array([number]))
        at = (~batch.target[0, :, 0].isnan()).nonzero().flatten()
        assert 1 <= len(at) <= size
        which = np.arange(seen, seen + len(at))
        expected = frames.batch(which)
        assert torch.equal(batch.target[0, at], expected.target)
        newest = torch.stack([batch.context[0, j - 2 : j + 1] for j in at])
        assert torch.equal(newest, expected.context)
        # Context reaches as far back as it may, and no further.
        available = int(frames.t[which[0]]) - frames.horizon + 1
        assert int(at[0]) + 1 == min(reach, available)
        seen += len(at)
    assert seen == len(frames)


def test_a_batch_of_crops_in_any_order_is_its_crops(utterances):
    frames = utterances()
    crops = Crops(frames, 5, 4)
    which = np.random.default_rng(0).permutation(len(crops))[:7]
    batch = crops.batch(which)
    found = batch.target[~batch.target[..., 0].isnan()]
    alone = [crops.batch(np.array([one])).target for one in which]
    expected = torch.cat([one[~one[..., 0].isnan()] for one in alone])
    assert torch.equal(found, expected)


def test_a_stretch_never_leaves_its_utterance(utterances):
    frames = utterances()
    pieces = stretches(frames, np.arange(len(frames)), 1_000)
    starts = {stored.start: stored.frames for stored in frames.latents.utterances}
    assert len(pieces.rows) == len(starts)
    for rows in pieces.rows:
        assert rows[0] in starts
        assert rows[-1] < rows[0] + starts[rows[0]]


def test_a_batch_of_crops_predicts_about_as_many_frames_as_one_of_windows(make, fit, utterances):
    frames = utterances((200,) * 30)
    predictor = make(backbone="transformer")
    drawn = []

    class Watched(type(predictor)):
        def loss(self, context, target):
            drawn.append(int((~target[..., 0].isnan()).sum()))
            return super().loss(context, target)

    predictor.__class__ = Watched
    fit(predictor, frames, 8, batch_size=256)
    assert 0.8 * 256 < np.mean(drawn) < 1.2 * 256


class Killed(BaseException):
    """Stands for the end of the process."""


class Dies(SilentProgress):
    """Ends the process at a step."""

    steps = 0

    @contextmanager
    def task(self, *_, **__):
        yield self

    def note(self, text):
        pass

    def advance(self, amount=1.0):
        self.steps += amount
        if self.steps == 5:
            raise Killed


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("head", ["mdn", "lsd"])
def test_training_on_crops_goes_on_to_the_same_weights(make, fit, utterances, tmp_path, head):
    frames = utterances()
    options = {"backbone": "transformer", "head": head, "noise_mix": 0.5}
    whole = fit(make(**options), frames, 12)
    file = tmp_path / "p.checkpoint"
    with pytest.raises(Killed):
        fit(make(**options), frames, 12, checkpoint=file, progress=Dies())
    assert file.exists()
    resumed = fit(make(**options), frames, 12, checkpoint=file)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_scores_and_controls_of_a_transformer_are_those_of_its_windows(make, fit, utterances):
    frames = utterances()
    predictor = fit(make(backbone="transformer"), frames)
    blind = fit(make(backbone="transformer"), frames.without_context())
    baseline = fit(Marginal(MarginalOptions(), context_frames=3, dim=4), frames)
    columns = {"nll": nll, "unconditional": lambda one: -one.unconditional.log_prob(one.target)}
    found = score(
        predictor,
        baseline,
        frames,
        columns,
        max_frames=90,
        batch_size=32,
        device=CPU,
        controls=Controls(unconditional=blind),
    )
    batch = frames.batch(np.arange(90))
    with torch.no_grad():
        windows = -predictor(batch.context).log_prob(batch.target)
        nothing = -blind(torch.zeros_like(batch.context)).log_prob(batch.target)
    np.testing.assert_allclose(found["nll"], windows, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["unconditional"], nothing, rtol=0, atol=1e-4)


def test_without_context_all_frames_have_one_density(make, fit, utterances):
    """Else the unconditional control would know where in an utterance a frame is."""
    frames = utterances().without_context()
    options = {"context": "utterance", "reach": 40}
    predictor = fit(make(backbone="transformer", **options), frames)
    which = np.arange(len(frames))
    density = predictor.densities(frames, which, frames.batch(which).context)
    found = density.log_prob(torch.ones(4)).detach()
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-6)


def test_one_predictor_scores_alike_as_model_and_as_baseline(make, fit, utterances):
    frames = utterances()
    one = fit(make(backbone="transformer", context="utterance", reach=40), frames)
    columns = {"nll": nll, "nll_baseline": nll_baseline, "nll_x_baseline": nll_x_baseline}
    every = {"max_frames": 90, "batch_size": 32, "device": CPU}
    found = score(one, one, frames, columns, controls=Controls(x_baseline=one), **every)
    np.testing.assert_array_equal(found["nll"], found["nll_baseline"])
    np.testing.assert_array_equal(found["nll"], found["nll_x_baseline"])
    first = frames.where(frames.utterance == 0)
    rolled = rollout(one, one, first, batch_size=32, device=CPU)
    np.testing.assert_array_equal(rolled["nll_teacher"], rolled["nll_baseline"])


def seen_anew(predictor, frames):
    """NLLs of a rollout that shows all it can see of an utterance again for every frame."""
    k, found = frames.horizon, []
    for u in dict.fromkeys(frames.utterance.tolist()):
        true = frames.latents.utterance(u)
        own = true.clone()
        for t in frames.t[frames.utterance == u].tolist():
            context = own[None, max(0, t - k + 1 - predictor.reach) : t - k + 1]
            density = predictor(context)
            found.append(-density.log_prob(true[t] - true[t - 1]).item())
            own[t] = own[t - 1] + density.mean[0]
    return found


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("options", [{}, {"context": "utterance", "reach": 7}])
def test_a_rollout_goes_on_from_keys_and_values_as_from_all_it_has_seen(
    make, fit, utterances, options, horizon
):
    frames = utterances(horizon=horizon)
    predictor = fit(make(backbone="transformer", layers=2, head="gaussian", **options), frames)
    whole = {"context_frames": 3, "horizon": horizon, "target": "delta", "max_frames": 2_000}
    rolled = rollout_frames(frames.latents, range(4), count=4, **whole)
    found = rollout(predictor, predictor, rolled, batch_size=32, device=CPU)
    with torch.no_grad():
        # float32, and what differs in a frame goes on into those after it
        np.testing.assert_allclose(found["nll_rollout"], seen_anew(predictor, rolled), atol=2e-4)
        which = np.arange(len(rolled))
        batch = rolled.batch(which)
        taught = -predictor.densities(rolled, which, batch.context).log_prob(batch.target)
    np.testing.assert_allclose(found["nll_teacher"], taught, atol=1e-4)
    assert (found["nll_rollout"] != found["nll_teacher"]).any()


def test_a_rollout_in_training_does_not_show_windows_to_what_is_to_see_further(
    make, fit, utterances
):
    with pytest.raises(UsageError, match="to see further"):
        fit(
            make(backbone="transformer", context="utterance"), utterances(), 1, rollout={"steps": 2}
        )
