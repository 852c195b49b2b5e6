import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from latentbench.config import TrainingConfig
from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.predictors.training import train
from latentbench.progress import SilentProgress
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
DIM, WINDOW = 3, 2


@pytest.fixture
def frames():
    rows = np.random.default_rng(0).standard_normal((400, DIM), dtype=np.float32)
    latents = Latents.from_arrays({"a": rows}, {"a": "s"})
    return WindowTask(WINDOW, 1).frames(latents, [0])


def trained(frames, **settings):
    torch.manual_seed(0)
    model = MixtureDensityNetwork(
        MdnOptions(components=2, width=16), context_frames=WINDOW, dim=DIM
    )
    config = TrainingConfig.model_validate({"steps": 60, "batch_size": 32, **settings})
    training = Training(config, 0, CPU, None, SilentProgress())
    train(model, frames, training)
    return model, training.curve


def test_a_compiled_loss_trains_as_it_does_without(frames):
    plain, its_curve = trained(frames)
    torch.compiler.reset()
    counters.clear()
    fused, curve = trained(frames, compile=True)
    assert counters["stats"]["unique_graphs"] >= 1  # it was compiled
    assert not counters["graph_break"]
    # Fused sums round otherwise, and AdamW divides by the size of gradients: a parameter may part
    # by a tenth of one step of 0.001, of which there were 60.
    for ours, theirs in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert [one.loss for one in curve.points] == pytest.approx(
        [one.loss for one in its_curve.points], abs=1e-4
    )


def test_without_a_compiler_it_is_said_what_to_do(frames):
    torch.compiler.reset()
    with (
        inductor.patch({"cpp.cxx": (None, "/no/such/compiler")}),
        pytest.raises(LatentbenchError, match="could not be compiled") as told,
    ):
        trained(frames, compile=True)
    assert "training.compile" in str(told.value)


def test_a_configuration_without_it_has_the_digest_of_before():
    assert "compile" not in TrainingConfig().model_dump()
    assert TrainingConfig(compile=True).model_dump()["compile"] is True
