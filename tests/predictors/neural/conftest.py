"""Tiny networks, and latents whose conditional density is known."""

import numpy as np
import pytest
import torch

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.neural.network import neural
from latentbench.predictors.neural.options import NeuralOptions
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

TINY = {
    "width": 16,
    "attention_heads": 2,
    "head_width": 16,
    "head_layers": 2,
    "components": 2,
    "transforms": 2,
}


@pytest.fixture(scope="session")
def make():
    """Make a tiny predictor, its weights drawn from a fixed seed."""

    def build(context_frames=3, dim=4, seed=0, **options):
        torch.manual_seed(seed)
        return neural(NeuralOptions(**(TINY | options)), context_frames=context_frames, dim=dim)

    return build


@pytest.fixture(scope="session")
def fit():
    """Fit a predictor and leave it in evaluation mode."""

    def run(predictor, frames, steps=6, checkpoint=None, progress=SILENT, **config):
        config = TrainingConfig(**{"steps": steps, "batch_size": 64} | config)
        torch.manual_seed(1)
        training = Training(config, 7, torch.device("cpu"), checkpoint, progress)
        predictor.fit(frames, training)
        return predictor.eval()

    return run


@pytest.fixture(scope="session")
def utterances():
    """Frames of utterances of these lengths, AR(1) of a few units and an offset."""

    def build(lengths=(20, 33, 9, 50), dim=4, horizon=2, context_frames=3, seed=0):
        random = np.random.default_rng(seed)
        rows = {}
        for number, length in enumerate(lengths):
            noise = random.normal(size=(length, dim))
            for t in range(1, length):
                noise[t] = 0.8 * noise[t - 1] + 0.6 * noise[t]
            rows[str(number)] = (3.0 + 2.0 * noise).astype(np.float32)
        latents = Latents.from_arrays(rows, {name: name for name in rows})
        task = WindowTask(context_frames, horizon, target="x", frame_set="own")
        return task.frames(latents, range(len(lengths)))

    return build
