"""What every predictor of the ladder keeps to, whatever it models."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from latentbench.config import ComponentConfig, TrainingConfig, build_options
from latentbench.conformance import run_checks
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.predictors import Training
from latentbench.progress import SILENT, SilentProgress
from latentbench.rollout.engine import rollout, rollout_frames
from latentbench.specs import option_fields
from latentbench.tasks import WindowTask
from latentbench.workspace import Workspace

CPU = torch.device("cpu")
DIM, CONTEXT_FRAMES = 6, 4
SMALL = {"width": 16, "components": 3}
LADDER = {
    "marginal": {},
    "marginal-full": {},
    "persistence": {},
    "persistence-fitted": {"gain": "fitted"},
    "linear": {},
    "linear-full": {"covariance": "full"},
    "mdn": SMALL,
    "marginal-mdn": SMALL,
    "shuffled-context": {**SMALL, "reservoir": 64},
    "mdn-robust": SMALL,
    "mdn-robust-t": {**SMALL, "tails": "student-t", "context_noise": 0.1},
}
TRAINED = [case for case, given in LADDER.items() if "width" in given]
CLOSED = [case for case in LADDER if case not in TRAINED]


def ar1(utterances=4, frames=80, rho=0.64):
    """Latents of a stationary AR(1) process of unit variance."""
    random = np.random.default_rng(0)
    rows = {}
    for name in map(str, range(utterances)):
        noise = random.normal(size=(frames, DIM))
        noise[1:] *= (1 - rho**2) ** 0.5
        for t in range(1, frames):
            noise[t] += rho * noise[t - 1]
        rows[name] = noise.astype(np.float32)
    return Latents.from_arrays(rows, {name: name for name in rows})


def frames_of(latents, utterances=(0, 1, 2, 3), horizon=1):
    return WindowTask(CONTEXT_FRAMES, horizon).frames(latents, utterances)


def training(checkpoint=None, progress=SILENT):
    config = TrainingConfig(steps=20, batch_size=16)
    return Training(config, 5, CPU, checkpoint, progress)


def component(case):
    name = case.removesuffix("-t").removesuffix("-fitted")
    name = "linear" if case == "linear-full" else name
    config = ComponentConfig(name=name, **LADDER[case])
    registry = load_registry()
    return registry.get("predictor", name), build_options(config, "predictor", registry)


def made(case, dim=DIM, seed=3):
    found, options = component(case)
    torch.manual_seed(seed)
    return found.create(options, context_frames=CONTEXT_FRAMES, dim=dim)


def fitted(case, frames):
    predictor = made(case, frames.dim)
    predictor.fit(frames, training())
    return predictor.eval()


@pytest.mark.parametrize("case", LADDER)
def test_conforms_to_the_contract(case, tmp_path):
    found, options = component(case)
    findings = list(run_checks(found, options, Workspace(tmp_path)))
    assert [str(one) for one in findings if one.status in {"fail", "warn"}] == []
    assert sum(one.status == "pass" for one in findings) >= 11


@pytest.mark.parametrize("case", LADDER)
def test_every_option_has_a_help_text(case):
    assert all(option.help for option in option_fields(component(case)[0].spec.options))


@pytest.mark.parametrize("case", TRAINED)
def test_training_moves_every_parameter_that_can_matter(case):
    frames = frames_of(ar1())
    start, end = made(case), fitted(case, frames)
    unused = {"hidden1.weight"} if case == "marginal-mdn" else set()
    batch = frames.batch(np.arange(64))
    end.train()
    (-end(batch.context).log_prob(batch.target).mean()).backward()
    before = dict(start.named_parameters())
    for name, parameter in end.named_parameters():
        assert not torch.equal(parameter, before[name])
        assert bool(parameter.grad.abs().sum() > 0) == (name not in unused)


class Interrupting(SilentProgress):
    """Presses Ctrl-C once, at the ninth step."""

    steps = 0

    @contextmanager
    def task(self, *_what, **_done):
        yield self

    def advance(self, amount=1.0):
        self.steps += amount
        if self.steps == 9:
            signal.raise_signal(signal.SIGINT)

    def note(self, text):
        pass


@pytest.mark.parametrize("case", TRAINED)
def test_an_interrupted_training_continues_to_the_same_bits(case, tmp_path):
    frames = frames_of(ar1())

    def run(checkpoint, progress):
        predictor = made(case)
        predictor.fit(frames, training(checkpoint, progress))
        return predictor.state_dict()

    undisturbed = run(None, SILENT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "c.pt", Interrupting())
    progress = SilentProgress()
    continued = run(tmp_path / "c.pt", progress)
    assert progress.said[-1].startswith("Training goes on from step 9 ")
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, continued[name]), name


@pytest.mark.parametrize("case", CLOSED)
def test_a_closed_form_does_not_depend_on_the_order_of_utterances(case):
    frames, backwards = (frames_of(ar1(), order) for order in ((0, 1, 2, 3), (3, 2, 1, 0)))
    batch = frames.batch(np.arange(40))
    one, other = (
        fitted(case, each)(batch.context).log_prob(batch.target) for each in (frames, backwards)
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["linear", "linear-full", "persistence-fitted"])
def test_without_context_the_marginal_remains(case):
    frames = frames_of(ar1())
    marginal = "marginal-full" if case == "linear-full" else "marginal"
    batch = frames.batch(np.arange(40))
    blind = torch.zeros_like(batch.context)
    found = fitted(case, frames.without_context())(blind).log_prob(batch.target)
    expected = fitted(marginal, frames)(blind).log_prob(batch.target)
    # The regression spends a degree of freedom more on the context it cannot see.
    tolerance = 0.01 if case == "persistence-fitted" else 1e-6
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", LADDER)
@pytest.mark.parametrize("horizon", [1, 3])
def test_rollouts_of_stationary_frames_are_finite(case, horizon):
    latents = ar1()
    train = frames_of(latents, (0, 1), horizon)
    predictor, baseline = fitted(case, train), fitted("marginal", train)
    frames = rollout_frames(
        latents,
        [2, 3],
        context_frames=CONTEXT_FRAMES,
        horizon=horizon,
        target="delta",
        count=2,
        max_frames=30,
    )
    found = rollout(predictor, baseline, frames, batch_size=64, device=CPU)
    true_context = found["depth"] <= 0
    assert np.isfinite(found["nll_rollout"]).all()
    assert (found["nll_rollout"] == found["nll_teacher"])[true_context].all()
    apart = np.abs(found["nll_rollout"] - found["nll_teacher"])[~true_context]
    ignores_context = case in {"marginal", "marginal-full", "marginal-mdn"}
    assert (apart.max() > 1e-3) == (not ignores_context)


@pytest.mark.parametrize("case", ["marginal-full", "persistence", "linear", "mdn-robust"])
def test_latents_that_are_not_finite_are_an_error(case):
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    rows[100, 1] = np.inf
    latents = Latents.from_arrays({"u": rows}, {"u": "s"})
    frames = frames_of(latents, (0,))
    with pytest.raises(
        LatentbenchError, match="frames at horizon 1 hold values that are not finite"
    ):
        fitted(case, frames)
