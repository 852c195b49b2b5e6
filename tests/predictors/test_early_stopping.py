"""Validation while a model trains: the best weights, when it ends, what a checkpoint keeps."""

import math
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.early_stopping import Validation
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.progress import SilentProgress
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")


def frames_of(frames, seed, rho=0.8):
    """Stationary AR(1) in 2 dimensions, 4 speakers of one utterance."""
    noise = np.random.default_rng(seed).normal(size=(4, frames, 2)) * math.sqrt(1 - rho**2)
    for t in range(1, frames):
        noise[:, t] += rho * noise[:, t - 1]
    arrays = {str(i): one.astype(np.float32) for i, one in enumerate(noise)}
    latents = Latents.from_arrays(arrays, {name: name for name in arrays})
    return WindowTask(2, 1, target="x", frame_set="own").frames(latents, range(4))


FEW, OTHERS = frames_of(20, 0), frames_of(200, 1)


class CtrlC(SilentProgress):
    """Interrupts after so many steps."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    @contextmanager
    def task(self, *_, **__):
        yield self

    def advance(self, amount=1.0):
        self.left -= amount
        if not self.left:
            signal.raise_signal(signal.SIGINT)

    def note(self, text):
        pass


def train(train=FEW, validation=OTHERS, checkpoint=None, progress=None, **config):
    torch.manual_seed(5)
    predictor = MixtureDensityNetwork(MdnOptions(components=2, width=32), context_frames=2, dim=2)
    plan = {"steps": 400, "batch_size": 16, "select": "best", "evaluate_every": 20, "patience": 4}
    training = Training(
        TrainingConfig(**plan | config),
        7,
        CPU,
        checkpoint,
        progress or SilentProgress(),
        validation,
    )
    predictor.fit(train, training)
    return predictor, training.curve


def loss_of(predictor, frames):
    batch = frames.batch(np.arange(len(frames)))
    with torch.no_grad():
        return float(predictor.loss(batch.context, batch.target))


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_weights_of_the_least_validation_loss_are_kept():
    predictor, curve = train()
    found = curve.convergence
    losses = {one.step: one.loss for one in curve.of("validation")}
    assert loss_of(predictor, OTHERS) == pytest.approx(min(losses.values()), rel=1e-6)
    assert losses[found.best_step] == found.best_loss == min(losses.values())
    assert losses[found.steps] == found.last_loss > found.best_loss + 0.05  # 72 frames overfit
    assert list(losses) == list(range(20, found.steps + 1, 20))
    assert found.evaluations == len(losses)


def test_training_ends_when_patience_is_over():
    _, curve = train()
    assert curve.convergence.converged is True
    losses = [one.loss for one in curve.of("validation")]
    reference, without = math.inf, [0]
    for loss in losses:
        gained = loss < reference - 0.02
        reference = loss if gained else reference
        without.append(0 if gained else without[-1] + 1)
    assert without.index(4) == len(losses)


@pytest.mark.parametrize(
    ("name", "changed"), [("NLL", lambda loss: loss + 500), ("loss", lambda loss: loss * 500)]
)
def test_what_a_gain_is_does_not_hang_on_the_units_of_a_loss(name, changed, monkeypatch):
    # A density in other units is off by a constant; another loss by a factor.
    losses = [2.0, 1.9, 1.89, 1.885, 1.86, 1.859, 1.8]
    predictor = MixtureDensityNetwork(MdnOptions(width=4), context_frames=2, dim=2)
    predictor.loss_name = name
    config = TrainingConfig(select="best", patience=2, min_gain=0.02 if name == "NLL" else 1.0)

    def ends(losses):
        validation = Validation(predictor, Training(config, 7, CPU, None, SilentProgress(), OTHERS))
        given = iter(losses)
        monkeypatch.setattr(validation, "_loss", lambda: next(given))
        return [validation.ends_training for _ in losses if validation.evaluate()]

    # 1.86 is lower by 0.04, and by over 2 %, than the last that counted, 1.9.
    expected = [False] * 3 + [True] + [False] * 3
    assert ends(losses) == ends([changed(one) for one in losses]) == expected


@pytest.mark.parametrize("least", [math.inf, 1.5])
def test_a_loss_that_never_is_a_number_has_not_converged(least, monkeypatch):
    predictor = MixtureDensityNetwork(MdnOptions(width=4), context_frames=2, dim=2)
    config = TrainingConfig(select="best", patience=2)
    validation = Validation(predictor, Training(config, 7, CPU, None, SilentProgress(), OTHERS))
    monkeypatch.setattr(validation, "_loss", lambda: least)
    for _ in range(3):
        validation.evaluate()
    assert validation.patience_is_over
    assert validation.converged is (least == 1.5)


def test_what_is_stopped_by_the_number_of_steps_has_not_converged():
    _, curve = train(steps=30)
    found = curve.convergence
    assert (found.steps, found.converged) == (30, False)
    assert [one.step for one in curve.of("validation")] == [20, 30]


def test_the_last_weights_are_those_of_a_training_without_validation():
    alone, curve = train(validation=None, select="last", steps=120)
    watched, seen = train(select="last", steps=120)
    assert same(alone, watched)
    assert curve.of("train") == seen.of("train")
    assert [one.step for one in curve.of("train")] == [50, 100, 120]
    assert (curve.convergence.converged, curve.convergence.evaluations) == (None, 0)
    assert seen.convergence.evaluations == 6
    assert math.isnan(curve.convergence.best_loss)


@pytest.mark.parametrize("after", [7, 20, 73, 120])
def test_an_interrupted_training_ends_in_the_same_weights_and_curve(after, tmp_path):
    undisturbed, curve = train()
    assert curve.convergence.steps > 120
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=tmp_path / "c.pt", progress=CtrlC(after))
    predictor, continued = train(checkpoint=tmp_path / "c.pt")
    assert same(predictor, undisturbed)
    assert continued == curve


def test_a_finished_training_brings_back_the_best_weights(tmp_path):
    first, curve = train(checkpoint=tmp_path / "c.pt")
    progress = CtrlC(1)
    again, seen = train(checkpoint=tmp_path / "c.pt", progress=progress)
    assert progress.left == 1
    assert same(first, again)
    assert seen == curve


def test_other_validation_frames_make_another_training(tmp_path):
    train(checkpoint=tmp_path / "c.pt", steps=20)
    progress = SilentProgress()
    train(checkpoint=tmp_path / "c.pt", steps=20, progress=progress, validation=frames_of(99, 3))
    assert "starts anew" in progress.said[0]


def test_a_validation_side_without_a_frame_is_an_error():
    with pytest.raises(LatentbenchError, match="No validation frame has a whole context"):
        train(validation=frames_of(2, 0))


def test_so_many_frames_of_all_speakers_are_evaluated():
    predictor, curve = train(steps=20, validation_frames=40)
    # 10 of each of 4 speakers, whose utterances follow one another.
    chosen = OTHERS.where(np.isin(np.arange(len(OTHERS)) % 198, range(10)))
    assert loss_of(predictor, chosen) == pytest.approx(curve.convergence.best_loss, rel=1e-6)
