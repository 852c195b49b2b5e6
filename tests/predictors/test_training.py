import math
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.files import SUMS
from latentbench.latents import Latents
from latentbench.predictors import Training, training
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.predictors.recycling_linear import RecyclingLinear, release_gradients
from latentbench.predictors.training import train
from latentbench.predictors.training_batches import sampling
from latentbench.progress import SilentProgress
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
DIM, WINDOW = 3, 2


class Watched(SilentProgress):
    """Counts steps, keeps notes, and does something once at one of the steps."""

    def __init__(self, at=None, action=None):
        super().__init__()
        self.at, self.action = at, action
        self.steps, self.notes, self.done = 0, [], None

    @contextmanager
    def task(self, title, total, unit, done=0.0):
        self.title, self.total, self.unit, self.done = title, total, unit, done
        yield self

    def advance(self, amount=1.0):
        self.steps += amount
        if self.done + self.steps == self.at:
            self.action()

    def note(self, text):
        self.notes.append(text)


class Killed(BaseException):
    """Stands for the end of the process: nothing may be written after it."""


def die():
    raise Killed


def ar1(rho, dim, frames, seed):
    """Stationary AR(1) of unit variance, 8 utterances."""
    random = np.random.default_rng(seed)
    utterances = {}
    for name in map(str, range(8)):
        noise = random.normal(size=(frames // 8, dim))
        noise[1:] *= math.sqrt(1 - rho**2)
        for t in range(1, len(noise)):
            noise[t] += rho * noise[t - 1]
        utterances[name] = noise.astype(np.float32)
    return Latents.from_arrays(utterances, {name: name for name in utterances})


def frames_of(latents, horizon=1, context_frames=WINDOW):
    task = WindowTask(context_frames=context_frames, horizon=horizon, frame_set="own")
    return task.frames(latents, range(len(latents.utterances)))


@pytest.fixture
def frames():
    return frames_of(ar1(0.6, DIM, 800, seed=0))


def small(seed=5, **options):
    torch.manual_seed(seed)
    options = {"components": 2, "width": 16, **options}
    return MixtureDensityNetwork(MdnOptions(**options), context_frames=WINDOW, dim=DIM)


def plan(checkpoint=None, progress=None, seed=7, **config):
    config = {"steps": 30, "batch_size": 16, **config}
    progress = progress or SilentProgress()
    return Training(TrainingConfig(**config), seed, CPU, checkpoint, progress)


def trained(frames, **given):
    predictor = small()
    predictor.fit(frames, plan(**given))
    return predictor


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)


@pytest.mark.parametrize("mode", ["stream", "uniform"])
def test_equals_a_plain_loop_of_torch_parts(frames, mode):
    predictor = small()
    plain = small()
    config = TrainingConfig(steps=30, batch_size=16, sampling=mode, clip_norm=0.5)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=1e-4, fused=False)
    for which, _ in zip(sampling(config, len(frames), 7, frames.horizon), range(30), strict=False):
        batch = frames.batch(which)
        hidden = batch.context.flatten(1)
        for layer in (plain.hidden1, plain.hidden2):
            hidden = F.gelu(F.linear(hidden, layer.weight, layer.bias))
        logits, means, log_sigmas = (
            F.linear(hidden, head.weight, head.bias)
            for head in (plain.logits, plain.means, plain.log_sigmas)
        )
        sigmas = log_sigmas.view(-1, 2, DIM).clamp(-7, 2).exp()
        normal = Independent(Normal(means.view(-1, 2, DIM), sigmas), 1)
        optimizer.zero_grad()
        density = MixtureSameFamily(Categorical(logits=logits), normal)
        (-density.log_prob(batch.target).mean()).backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()
    assert norm > 0.5  # else nothing was clipped
    train(predictor, frames, plan(sampling=mode, clip_norm=0.5))
    for mine, theirs in zip(predictor.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5)


def test_minimises_the_loss_a_predictor_defines(frames):
    class Nearer(MixtureDensityNetwork):
        def loss(self, context, target):
            return (self(context).mean - target).square().mean()

    torch.manual_seed(5)
    nearer = Nearer(MdnOptions(components=2, width=16), context_frames=WINDOW, dim=DIM)
    before = nearer.log_sigmas.weight.clone()
    nearer.fit(frames, plan(weight_decay=0.0))
    assert torch.equal(nearer.log_sigmas.weight, before)  # no spread in a squared error
    assert not torch.equal(nearer.means.weight, small().means.weight)


def test_same_seed_same_weights(frames):
    assert same(trained(frames), trained(frames))
    assert not same(trained(frames), trained(frames, seed=8))


def test_reports_steps_and_running_loss(frames):
    progress = Watched()
    predictor = trained(frames, progress=progress, steps=120)
    assert (progress.title, progress.total, progress.unit) == ("train k=1", 120, "steps")
    assert (progress.done, progress.steps) == (0, 120)
    assert [note.split()[0] for note in progress.notes] == ["NLL"] * 3
    assert not predictor.training


@pytest.mark.parametrize(
    "rollout", [{}, {"noise": 0.1}, {"steps": 3, "start": 9, "mode": "sample"}], ids=str
)
@pytest.mark.usefixtures("every_step")
def test_a_killed_training_continues_to_the_same_bits(frames, tmp_path, rollout):
    file, how = tmp_path / "deeper" / "checkpoint.pt", {"rollout": rollout}
    torch.manual_seed(1)
    with pytest.raises(Killed):
        trained(frames, checkpoint=file, progress=Watched(at=17, action=die), **how)
    progress = Watched()
    continued = trained(frames, checkpoint=file, progress=progress, **how)
    assert progress.done == 16
    assert progress.said == [f"Training goes on from step 16 of the checkpoint '{file}'."]
    assert same(continued, trained(frames, **how))
    assert {path.name for path in file.parent.iterdir()} == {"checkpoint.pt", SUMS}


def test_ctrl_c_ends_the_step_saves_and_continues_to_the_same_bits(frames, tmp_path):
    file = tmp_path / "checkpoint.pt"
    progress = Watched(at=11, action=lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trained(frames, checkpoint=file, progress=progress)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    progress = Watched()
    continued = trained(frames, checkpoint=file, progress=progress)
    assert progress.done == 11
    assert same(continued, trained(frames))


def test_ctrl_c_before_the_first_step_saves_that_step(frames, tmp_path):
    class EndsAtOnce(Watched):
        stopped = False

        @contextmanager
        def task(self, *args, **kwargs):
            with super().task(*args, **kwargs):
                signal.raise_signal(signal.SIGINT)
                try:
                    yield self
                except KeyboardInterrupt:
                    self.stopped = True
                    raise

    file, progress = tmp_path / "checkpoint.pt", EndsAtOnce()
    with pytest.raises(KeyboardInterrupt):
        trained(frames, checkpoint=file, progress=progress)
    assert progress.stopped
    progress = Watched()
    continued = trained(frames, checkpoint=file, progress=progress)
    assert progress.done == 1
    assert same(continued, trained(frames))


def test_a_predictor_that_draws_while_it_trains_continues_to_the_same_bits(frames, tmp_path):
    class Noisy(MixtureDensityNetwork):
        def forward(self, context):
            return super().forward(context + 0.1 * torch.randn_like(context))

    def noisy(progress, checkpoint):
        torch.manual_seed(1)
        predictor = Noisy(MdnOptions(components=2, width=16), context_frames=WINDOW, dim=DIM)
        predictor.fit(frames, plan(checkpoint=checkpoint, progress=progress))
        return predictor

    undisturbed = noisy(SilentProgress(), None)
    interrupt = Watched(at=9, action=lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        noisy(interrupt, tmp_path / "c.pt")
    assert same(noisy(SilentProgress(), tmp_path / "c.pt"), undisturbed)


def test_a_finished_training_is_not_done_again(frames, tmp_path):
    first = trained(frames, checkpoint=tmp_path / "c.pt")
    progress = Watched()
    again = trained(frames, checkpoint=tmp_path / "c.pt", progress=progress)
    assert progress.steps == 0
    assert same(first, again)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "other"])
def test_a_damaged_checkpoint_is_said_and_left_aside(frames, tmp_path, damage):
    file = tmp_path / "c.pt"
    first = trained(frames, checkpoint=file)
    whole = bytearray(file.read_bytes())
    flipped = whole.copy()
    flipped[whole.find(first.hidden2.weight.detach().numpy().tobytes())] ^= 0x01
    broken = {"truncated": whole[:1000], "empty": b"", "flipped": flipped, "other": b"no archive"}
    file.write_bytes(broken[damage])
    progress = Watched()
    anew = trained(frames, checkpoint=file, progress=progress)
    assert len(progress.said) == 1
    assert progress.said[0].startswith(f"The checkpoint '{file}' is damaged (")
    assert progress.said[0].endswith("): training starts anew.")
    assert progress.steps == 30
    assert same(anew, trained(frames))


@pytest.mark.parametrize("what", ["config", "seed", "weights", "options", "values", "horizon"])
def test_a_checkpoint_of_another_training_is_said_and_left_aside(frames, tmp_path, what):
    file = tmp_path / "c.pt"
    trained(frames, checkpoint=file)
    progress = Watched()
    given = plan(checkpoint=file, progress=progress)
    predictor, others = small(), frames
    if what == "config":
        given = plan(checkpoint=file, progress=progress, learning_rate=2e-3)
    elif what == "seed":
        given = plan(checkpoint=file, progress=progress, seed=8)
    elif what == "weights":
        predictor = small(seed=6)
    elif what == "options":
        predictor = small(log_sigma_min=-3.0)
    elif what == "values":
        others = frames_of(ar1(0.6, DIM, 800, seed=1))
    else:
        others = frames_of(ar1(0.6, DIM, 800, seed=0), horizon=2)
    predictor.fit(others, given)
    whose = f"The checkpoint '{file}' belongs to another configuration or other latents"
    assert progress.said == [f"{whose}: training starts anew."]
    assert progress.steps == 30


def test_a_checkpoint_that_cannot_be_written_says_where_and_when(frames, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        LatentbenchError, match=r"checkpoint '.*c\.pt' cannot be written at step 30"
    ):
        trained(frames, checkpoint=tmp_path / "file" / "c.pt")


def test_a_full_disk_leaves_the_last_checkpoint_whole(frames, tmp_path):
    resource = pytest.importorskip("resource", reason="file size limits are POSIX's")
    file = tmp_path / "c.pt"
    first = trained(frames, checkpoint=file)
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(LatentbenchError, match="Make room or choose another folder"):
            trained(frames, checkpoint=file, seed=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before
    assert same(trained(frames, checkpoint=file), first)


def test_divergence_names_the_step_and_what_to_try(frames):
    with pytest.raises(LatentbenchError) as caught:
        trained(frames, learning_rate=1e30, steps=80)
    step = 2  # the first step sees the initial weights; the second what the first made of them
    assert f"Training diverged: the loss at step {step} is " in str(caught.value)
    assert "Try a smaller training.learning_rate (now 1e+30)" in str(caught.value)


@pytest.mark.usefixtures("every_step")
def test_a_diverged_state_is_never_saved(frames, tmp_path):
    with pytest.raises(LatentbenchError, match="diverged"):
        trained(frames, checkpoint=tmp_path / "c.pt", learning_rate=1e30)
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    assert state["step"] == 1


def test_no_frames_are_an_error():
    latents = Latents.from_arrays({"a": np.zeros((4, DIM), np.float32)}, {"a": "s"})
    with pytest.raises(LatentbenchError, match="There are no training frames at horizon 4"):
        trained(frames_of(latents, horizon=4))


def test_what_goes_wrong_while_gathering_is_raised_and_the_thread_ends(frames, monkeypatch):
    import threading

    def fail(_which):
        raise OSError("the shard went away")

    monkeypatch.setattr(frames, "batch", fail)
    with pytest.raises(OSError, match="the shard went away"):
        trained(frames)
    assert "batches" not in [thread.name for thread in threading.enumerate()]


def test_trains_in_a_thread_where_signals_cannot_be_handled(frames):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        predictor = pool.submit(trained, frames).result()
    assert same(predictor, trained(frames))


def test_bf16_trains_float32_weights_to_nearly_the_same_loss(frames):
    batch = frames.batch(np.arange(len(frames)))
    losses = {}
    for precision in ("fp32", "bf16"):
        predictor = trained(frames, precision=precision, steps=100)
        assert all(p.dtype == torch.float32 for p in predictor.parameters())
        losses[precision] = -predictor(batch.context).log_prob(batch.target).mean().item()
    start = -small()(batch.context).log_prob(batch.target).mean().item()
    assert losses["fp32"] < start - 1
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.05 * (start - losses["fp32"]))


@pytest.mark.parametrize(("capability", "said"), [("AVX2", 1), ("AVX512", 0)])
def test_a_cpu_that_emulates_bf16_is_named(frames, monkeypatch, capability, said):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    progress = Watched()
    trained(frames, precision="bf16", progress=progress, steps=1)
    assert ["This CPU has no bfloat16 arithmetic" in text for text in progress.said] == [
        True
    ] * said


def test_recycling_linear_is_linear_and_reuses_its_gradient():
    torch.manual_seed(0)
    layer, plain = RecyclingLinear(6, 4), torch.nn.Linear(6, 4)
    plain.load_state_dict(layer.state_dict())
    places = set()
    for _ in range(3):
        inputs = torch.randn(2, 5, 6, requires_grad=True)
        release_gradients(layer)
        plain.zero_grad()
        assert layer.weight.grad is None
        layer(inputs).square().sum().backward()
        found, inputs.grad = inputs.grad, None
        plain(inputs).square().sum().backward()
        torch.testing.assert_close(found, inputs.grad)
        torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
        torch.testing.assert_close(layer.bias.grad, plain.bias.grad)
        places.add(layer.weight.grad.data_ptr())
    assert len(places) == 1
    layer(inputs).square().sum().backward()  # without a release gradients add up, as ever
    torch.testing.assert_close(layer.weight.grad, 2 * plain.weight.grad)


def test_a_trained_mdn_approaches_the_closed_form_of_ar1_from_above():
    """Given x_{t-1}, the delta is Gaussian of variance 1 - rho^2 in each dimension."""
    rho, dim = 0.64, 2
    truth = dim / 2 * math.log(2 * math.pi * math.e * (1 - rho**2))
    torch.manual_seed(0)
    options = MdnOptions(components=2, width=32)
    predictor = MixtureDensityNetwork(options, context_frames=2, dim=dim)
    seen = frames_of(ar1(rho, dim, 40_000, seed=1))
    train(predictor, seen, plan(steps=500, batch_size=256, sampling="uniform"))
    held_out = frames_of(ar1(rho, dim, 40_000, seed=2))
    batch = held_out.batch(np.arange(len(held_out)))
    with torch.no_grad():
        nll = -predictor(batch.context).log_prob(batch.target)
    error = nll.std().item() / math.sqrt(len(nll))
    excess = nll.mean().item() - truth
    assert -3 * error < excess < 0.03 * dim


SIGKILL_SCRIPT = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import test_training as t
t.training.CHECKPOINT_SECONDS = -1.0
progress = t.Watched(at=12, action=lambda: os.kill(os.getpid(), signal.SIGKILL))
frames = t.frames_of(t.ar1(0.6, t.DIM, 800, seed=0))
t.trained(frames, checkpoint=pathlib.Path(sys.argv[2]), progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_after_sigkill_another_process_continues_to_the_same_bits(frames, tmp_path):
    file = tmp_path / "c.pt"
    here = str(Path(__file__).parent)
    ended = subprocess.run([sys.executable, "-c", SIGKILL_SCRIPT, here, str(file)], check=False)
    assert ended.returncode == -signal.SIGKILL
    progress = Watched()
    continued = trained(frames, checkpoint=file, progress=progress)
    assert progress.done == 11
    assert same(continued, trained(frames))
