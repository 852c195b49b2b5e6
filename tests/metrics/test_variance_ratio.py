"""`variance_ratio` of a lookup against numpy, the closed form of a chain, and permuted keys."""

import math

import numpy as np
import pytest
import torch

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.metrics.controls import Controls
from latentbench.metrics.metric import Prediction, merge_columns
from latentbench.metrics.predicted_mean import BaselineVarianceRatio, VarianceRatio, total
from latentbench.metrics.scoring import score
from latentbench.predictors import Training
from latentbench.predictors.lookup.options import LookupOptions
from latentbench.predictors.lookup.predictor import Lookup
from latentbench.predictors.mixture import StudentMixture
from latentbench.predictors.robust import AnchoredDensity
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.markov import markov

CPU = torch.device("cpu")
STATES, DIM = 5, 4


def frames_of(x):
    arrays = {str(number): one.astype(np.float32) for number, one in enumerate(x)}
    latents = Latents.from_arrays(arrays, {name: name for name in arrays})
    return WindowTask(2, 1, frame_set="own").frames(latents, range(len(x)))


def fitted(frames, **options):
    given = {"keys": STATES, "shrinkage": 0.0} | options
    predictor = Lookup(LookupOptions(**given), context_frames=2, dim=frames.dim)
    predictor.fit(frames, Training(TrainingConfig(), 0, CPU, None, SILENT))
    return predictor


def ratios(train, frames, **options):
    """Of the model and of permuted keys."""
    metrics = (VarianceRatio(), BaselineVarianceRatio())
    columns = score(
        fitted(train, **options),
        fitted(train, permuted=True),
        frames,
        merge_columns(metrics),
        max_frames=len(frames),
        batch_size=4_096,
        device=CPU,
        controls=Controls(unconditional=fitted(train.without_context())),
    )
    return [one.statistic.of(columns) for one in metrics]


@pytest.fixture(scope="module")
def world():
    return markov(dim=DIM, states=STATES, sigma=0.05, stay=0.6, chain_seed=1)


def test_of_white_noise_it_is_what_groups_lower_it_by_for_nothing():
    train = frames_of(np.random.default_rng(0).normal(size=(1, 40_002, 1)))
    # x_t - x_{t-1} given a key of x_{t-1}: of permuted keys nothing is told.
    _, permuted = ratios(train, train)
    assert permuted == pytest.approx(
        1.0 - (STATES - 1) / (len(train) - 1), abs=4.0 * (2 * (STATES - 1)) ** 0.5 / len(train)
    )


def test_of_a_chain_it_is_the_closed_form_in_sample_and_on_others(world):
    train = frames_of(world.sample(20, 1_000, np.random.default_rng(1)))
    other = frames_of(world.sample(20, 1_000, np.random.default_rng(2)))
    for frames in (train, other):
        targets = frames.targets(np.arange(len(frames))).double().numpy()
        state = world_states(world, frames)
        means = np.stack([targets_of(train, world, one) for one in range(STATES)])
        all_of_train = train.targets(np.arange(len(train))).double().numpy()
        scale, centre = all_of_train.var(0, ddof=1), all_of_train.mean(0)
        expected = ((targets - means[state]) ** 2 / scale).sum()
        expected /= ((targets - centre) ** 2 / scale).sum()
        found, permuted = ratios(train, frames)
        assert found == pytest.approx(expected, rel=1e-4)
        assert permuted > found


def test_a_key_of_too_few_frames_is_given_the_marginal():
    train = frames_of(np.random.default_rng(0).normal(size=(1, 200, 2)))
    found, _ = ratios(train, train, least_frames=1_000)
    assert found == pytest.approx(1.0, rel=1e-6)


def world_states(world, frames):
    newest = frames.batch(np.arange(len(frames))).context[:, -1].double().numpy()
    return ((newest[:, None] - world.means) ** 2).sum(-1).argmin(-1)


def targets_of(frames, world, state):
    targets = frames.targets(np.arange(len(frames))).double().numpy()
    return targets[world_states(world, frames) == state].mean(0)


def test_dimensions_of_student_components_are_in_units_of_their_deviation():
    """Not of their scale, which is smaller by the root of nu / (nu - 2)."""
    scale = torch.tensor([[[0.0, math.log(3.0)]]]).expand(1, 2, 2)
    learned = StudentMixture(torch.zeros(1, 2), torch.zeros(1, 2, 2), scale, torch.full((2,), 6.0))
    control = AnchoredDensity(learned, torch.zeros(1), 0.2)  # a weight of 0.6
    variance = 0.6 + 0.4 * 1.5 * torch.tensor([1.0, 9.0]).double()
    prediction = Prediction(control, control, torch.ones(1, 2), control)
    torch.testing.assert_close(total(prediction), (1.0 / variance).sum()[None])
