"""How rollouts follow one another and how they are distributed, against AR(1) in closed form."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentbench.latents import Latents
from latentbench.predictors import Predictor
from latentbench.rollout.engine import rollout, rollout_frames
from latentbench.rollout.figures import by_depth, summarize_states

A, DIM, W, SPEAKERS, LONG = 0.8, 6, 1, 400, 40
CPU = torch.device("cpu")


class Told(Predictor):
    """A Gaussian around `gain` times the newest frame."""

    def __init__(self, gain, sigma):
        super().__init__(context_frames=W, dim=DIM)
        self.gain, self.sigma = gain, sigma

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        return Independent(Normal(self.gain * context[:, -1], self.sigma), 1)


def latents_of(frames=LONG, speakers=SPEAKERS, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((speakers, frames, DIM))
    x = [noise[:, 0]]
    for t in range(1, frames):
        x.append(A * x[-1] + math.sqrt(1 - A**2) * noise[:, t])
    named = {str(i): one.astype(np.float32) for i, one in enumerate(np.stack(x, 1))}
    return Latents.from_arrays(named, {name: name for name in named})


def rolled(model, k=1, target="x", mode="sample", speakers=SPEAKERS):
    latents = latents_of(speakers=speakers)
    every = range(speakers)
    frames = rollout_frames(
        latents, every, context_frames=W, horizon=k, target=target, count=speakers, max_frames=LONG
    )
    return rollout(
        model, model, frames, batch_size=2_048, device=CPU, mode=mode, centre=torch.zeros(DIM)
    )


def at_depths(columns):
    return {j: summarize_states(one, DIM) for j, one in by_depth(columns).items()}


def true_model(k):
    return Told(A**k, math.sqrt(1 - A ** (2 * k)))


# The standard error of a correlation r of n pairs is (1 - r^2) / sqrt(n).
ERROR = 4 / math.sqrt(SPEAKERS * DIM)


def test_samples_of_the_true_model_have_its_autocorrelation_at_every_depth():
    for found in at_depths(rolled(true_model(1))).values():
        assert found.autocorrelation == pytest.approx(A, abs=(1 - A**2) * ERROR)
        assert found.true_autocorrelation == pytest.approx(A, abs=(1 - A**2) * ERROR)


def test_at_k_2_frames_of_one_block_go_apart_as_their_chains_do():
    # x_t = a^2 x_{t-2} + noise runs as two chains that share nothing but their true start: after b
    # blocks neighbours correlate by a^(4 b + 1), across the edge of a block by a^2 of that more.
    for j, found in at_depths(rolled(true_model(2), k=2)).items():
        block, second = divmod(j + 1, 2)  # j = -1 and 0 are drawn from true frames
        chains = A ** (4 * (block + 1) + 1) if second else A ** (4 * block + 3)
        error = (1 - chains**2) * ERROR
        assert found.autocorrelation == pytest.approx(chains, abs=error)


@pytest.mark.parametrize("k", [1, 2])
def test_samples_of_the_true_model_have_no_energy_distance(k):
    for j, part in by_depth(rolled(true_model(k), k)).items():
        terms = 2 * part["distance_to_true"] - part["distance_to_own"] - part["distance_of_true"]
        assert abs(terms.mean()) < 4 * terms.std() / math.sqrt(len(terms)), j
        assert summarize_states(part, DIM).energy_distance == pytest.approx(0.0, abs=0.01)


def test_the_energy_distance_of_another_width_is_its_closed_form():
    # White frames of deviation s beside those of deviation 1: E|X - Y| = sqrt(1 + s^2) c.
    s = 0.5
    columns = rolled(Told(0.0, s))
    across, own, true = math.sqrt(1 + s**2), math.sqrt(2) * s, math.sqrt(2)
    expected = (2 * across - own - true) / (2 * across)
    for found in at_depths(columns).values():
        assert found.energy_distance == pytest.approx(expected, abs=0.01)
        assert found.autocorrelation == pytest.approx(0.0, abs=ERROR)
        assert found.variance_ratio == pytest.approx(s**2, abs=0.03)


def test_standing_still_shows_in_its_own_figures():
    still = at_depths(rolled(Told(0.0, 1.0), target="delta", mode="mean"))
    for found in still.values():
        assert found.magnitude_ratio == 0.0
        assert found.autocorrelation == pytest.approx(1.0, abs=1e-12)
        # Each utterance stays at a true frame: as a whole they are where true frames are.
        assert found.variance_ratio == pytest.approx(1.0, abs=0.15)
        assert found.energy_distance == pytest.approx(0.0, abs=0.01)


def test_a_mean_that_shrinks_ends_as_a_point():
    # Depth j is a^(j + 1) x: E|X - Y| = sqrt(1 + s^2) c, s = a^(j + 1), as for any other width.
    shrinking = at_depths(rolled(true_model(1), mode="mean"))
    for j in (0, 4, 20):
        s = A ** (j + 1)
        across = math.sqrt(1 + s**2)
        expected = (2 * across - math.sqrt(2) * (1 + s)) / (2 * across)
        assert shrinking[j].energy_distance == pytest.approx(expected, abs=0.01)


def test_a_single_utterance_has_no_energy_distance():
    alone = at_depths(rolled(true_model(1), speakers=1))
    assert all(math.isnan(found.energy_distance) for found in alone.values())
