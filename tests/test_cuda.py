"""CUDA computes what the CPU does: the same figures, the same bits after an interruption."""

import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import latentbench as lb
from latentbench.config import TrainingConfig
from latentbench.device import choose_device, describe_device
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.lookup.memory import MemoryPredictor
from latentbench.predictors.lookup.options import MemoryOptions
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.neural.network import neural
from latentbench.predictors.neural.options import HEADS, NeuralOptions
from latentbench.predictors.plugin import MdnOptions
from latentbench.progress import SILENT, SilentProgress
from latentbench.tasks import WindowTask

DEVICE = "cuda"
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")

SMALL = {
    "encoder": "latents",
    "corpus": {"name": "world:ar1", "dim": 4, "speakers": 6, "utterances": 2, "frames": 200},
    "horizons": [1, 4],
    "split": {"eval_fraction": 0.34},
    "utterances": {"min_seconds": 0},
    "training": {"steps": 60, "batch_size": 64},
}
# Sums in another order, and 60 steps that carry it on: a ten-thousandth of a nat is seen.
CLOSE = {"rel": 2e-3, "abs": 5e-3}


def test_float32_keeps_all_its_bits_on_every_device(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_float32_matmul_precision("high")
    choose_device("auto")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_result_says_whether_tf32_was_in_force(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
    choose_device("cpu")
    assert describe_device(torch.device("cuda")) == "cuda (Card, TF32 off)"
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert describe_device(torch.device("cuda")) == "cuda (Card, TF32 on)"


def figures(folder, device, **settings):
    result = lb.run(out=folder / device, device=device, cache=folder / "cache", **settings)
    assert not result.record.failed, result.record.failed
    return {(row.k, row.split, row.slice, row.figure): row.value for row in result.figures}


@on_cuda
@pytest.mark.parametrize(
    "predictor",
    ["linear", {"name": "mdn", "width": 64}, {"name": "mdn-robust", "width": 64}, "marginal-full"],
    ids=lambda given: given if isinstance(given, str) else given["name"],
)
def test_figures_are_those_of_the_cpu(predictor, tmp_path):
    here, there = (
        figures(tmp_path, device, predictor=predictor, rollout={"utterances": 0}, **SMALL)
        for device in ("cpu", DEVICE)
    )
    assert set(here) == set(there)
    assert there == pytest.approx(here, nan_ok=True, **CLOSE)


@pytest.fixture(scope="module")
def frames():
    walks = np.random.default_rng(3).normal(size=(8, 80, 4)).cumsum(1).astype(np.float32)
    latents = Latents.from_arrays(
        {str(i): walk for i, walk in enumerate(walks)}, {str(i): str(i) for i in range(8)}
    )
    task = WindowTask(context_frames=4, horizon=2, target="x", frame_set="own")
    return task.frames(latents, range(len(latents.utterances)))


def fitted(make, frames, steps=5, checkpoint=None, progress=SILENT, **config):
    torch.manual_seed(1)
    device = choose_device(DEVICE)
    config = TrainingConfig(steps=steps, batch_size=32, **config)
    predictor = make().to(device)
    predictor.fit(frames, Training(config, 7, device, checkpoint, progress))
    return predictor.eval()


def narrow():
    return MixtureDensityNetwork(MdnOptions(components=2, width=16), context_frames=4, dim=4)


@on_cuda
@pytest.mark.parametrize("backbone", ["mlp", "gru", "transformer"])
@pytest.mark.parametrize("head", HEADS)
def test_every_backbone_trains_with_every_head(backbone, head, frames):
    options = NeuralOptions(
        backbone=backbone, head=head, width=16, attention_heads=2, head_width=16, head_layers=2
    )
    predictor = fitted(lambda: neural(options, context_frames=4, dim=4), frames)
    which = np.arange(3)
    context = frames.batch(which).context.to(DEVICE)
    drawn = predictor.densities(frames, which, context).sample((2,))
    assert drawn.device.type == DEVICE
    assert drawn.shape == (2, 3, 4)
    assert drawn.isfinite().all()


@on_cuda
def test_a_model_trained_on_cuda_is_asked_on_the_cpu(frames):
    predictor = fitted(narrow, frames)
    batch = frames.batch(np.arange(len(frames)))
    there = predictor(batch.context.to(DEVICE)).log_prob(batch.target.to(DEVICE)).cpu()
    again = narrow()
    again.load_state_dict(predictor.state_dict())
    here = again.eval()(batch.context).log_prob(batch.target)
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4)


@on_cuda
def test_bf16_trains_to_about_the_same_loss(frames):
    batch = frames.batch(np.arange(len(frames)))
    context, target = batch.context.to(DEVICE), batch.target.to(DEVICE)
    full, half = (
        float(fitted(narrow, frames, steps=100, precision=one).loss(context, target).detach())
        for one in ("fp32", "bf16")
    )
    assert half == pytest.approx(full, abs=0.1)


class CtrlC(SilentProgress):
    """Interrupts at the eleventh step."""

    steps = 0

    @contextmanager
    def task(self, *_, **__):
        yield self

    def advance(self, amount=1.0):
        self.steps += amount
        if self.steps == 11:
            signal.raise_signal(signal.SIGINT)

    def note(self, text):
        pass


def remembering():
    options = MemoryOptions(kind="hybrid", keys=4, width=16, gate_width=8)
    return MemoryPredictor(options, context_frames=4, dim=4)


@on_cuda
@pytest.mark.parametrize("make", [narrow, remembering])
def test_a_training_interrupted_on_cuda_continues_to_the_same_bits(make, frames, tmp_path):
    file = tmp_path / "checkpoint.pt"
    undisturbed = fitted(make, frames, steps=30)
    with pytest.raises(KeyboardInterrupt):
        fitted(make, frames, steps=30, checkpoint=file, progress=CtrlC())
    continued = fitted(make, frames, steps=30, checkpoint=file)
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, continued.state_dict()[name]), name


@on_cuda
def test_a_result_names_the_device_and_its_memory(tmp_path):
    settings = SMALL | {"horizons": [1]}
    record = lb.run(
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        predictor="linear",
        device=DEVICE,
        **settings,
    ).record
    assert record.provenance.device == describe_device(torch.device(DEVICE))
    assert record.provenance.peak_memory_bytes > 0
