import numpy as np
import pytest
import torch

from latentbench.factorizations import Fitting
from latentbench.latents import Latents

CPU = Fitting(torch.device("cpu"))


@pytest.fixture
def drawn():
    """Utterances of a world as latents; a shift is added, so that nothing is centred by chance."""

    def draw(world, utterances=40, frames=400, shift=5.0, seed=3):
        rows = world.sample(utterances, frames, np.random.default_rng(seed)) + shift
        arrays = {str(number): one.astype(np.float32) for number, one in enumerate(rows)}
        return Latents.from_arrays(arrays, {name: name for name in arrays})

    return draw


@pytest.fixture
def fitted():
    def fit(made, latents):
        made.fit(latents, range(len(latents.utterances)), CPU)
        return made

    return fit
