"""The exact predictor gives the density of its world."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from latentbench.config import TrainingConfig
from latentbench.errors import UsageError
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.exact import exact
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.worlds.plugin import (
    WORLDS,
    Ar1Options,
    ExactOptions,
    StateSpaceOptions,
    VarOptions,
    build_world,
)

TRAINING = Training(TrainingConfig(), 0, torch.device("cpu"), None, SILENT)
W = 3
PARAMETERS = {"factored": {"predictable": 1}, "markov": {"stay": 0.3}}
SMALL = {name: one(dim=3, **PARAMETERS.get(name, {})) for name, one in WORLDS.items()}


def frames_of(options, k, target, *, step=1):
    world = build_world(options)
    drawn = world.sample(6, 30, np.random.default_rng(0)).astype(np.float32)
    arrays = {f"u{i}": one for i, one in enumerate(drawn)}
    latents = Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))
    return WindowTask(W, k, target, frame_set="own", step=step).frames(latents, range(6))


def fitted(name, parameters, frames):
    predictor = exact(ExactOptions(name, parameters), context_frames=W, dim=frames.dim)
    predictor.fit(frames, TRAINING)
    return predictor


@pytest.mark.parametrize("target", ["delta", "x"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ar1", Ar1Options(dim=4)),
        ("var", VarOptions(dim=3)),
        ("state-space", StateSpaceOptions(dim=3)),
    ],
)
def test_gaussian_densities_are_those_of_the_joint_covariance(name, options, k, target):
    world, frames = build_world(options), frames_of(options, k, target)
    batch = frames.batch(np.arange(20))
    found = fitted(name, PARAMETERS.get(name, {}), frames)(batch.context)
    # log p(target | context) = log p(context, target) - log p(context), over W + k frames.
    d, length = world.dim, W + k
    gammas = {h: np.kron(np.eye(world.copies), world.autocovariance(h)) for h in range(length)}
    joint = np.block(
        [
            [gammas[i - j] if i >= j else gammas[j - i].T for j in range(length)]
            for i in range(length)
        ]
    )
    pick = np.zeros(((W + 1) * d, length * d))
    pick[: W * d, : W * d] = np.eye(W * d)
    pick[W * d :, -d:] = np.eye(d)
    if target == "delta":
        pick[W * d :, -2 * d : -d] -= np.eye(d)
    covariance = pick @ joint @ pick.T
    context = batch.context.flatten(1).double().numpy()
    both = np.hstack([context, batch.target.double().numpy()])
    expected = multivariate_normal(cov=covariance, allow_singular=True).logpdf(both)
    expected -= multivariate_normal(cov=covariance[: W * d, : W * d]).logpdf(context)
    assert found.log_prob(batch.target).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("k", "target"), [(1, "delta"), (2, "delta"), (2, "x")])
def test_draws_have_the_mean_of_the_density(name, k, target):
    frames = frames_of(SMALL[name], k, target)
    density = fitted(name, PARAMETERS.get(name, {}), frames)(frames.batch(np.arange(4)).context)
    assert (density.batch_shape, density.event_shape) == ((4,), (3,))
    torch.manual_seed(0)
    draws = density.sample((20_000,))
    assert draws.shape == (20_000, 4, 3)
    error = (draws.mean(0) - density.mean).abs() / (draws.std(0) / 20_000**0.5)
    assert error.max() < 4.5


@pytest.mark.parametrize("name", WORLDS)
def test_without_context_the_density_is_the_unconditional_one(name):
    options = SMALL[name]
    for k, target in ((1, "delta"), (3, "x")):
        blind = fitted(
            name, PARAMETERS.get(name, {}), frames_of(options, k, target).without_context()
        )
        rng = np.random.default_rng(3)
        x = build_world(options).sample(40_000, 2, rng).astype(np.float32)
        value = torch.from_numpy(x[:, 1] - x[:, 0] if target == "delta" else x[:, 1])
        one, other = (blind(fill * torch.ones(len(x), W, 3)).log_prob(value) for fill in (0, 5))
        assert torch.equal(one, other)
        error = 4 * float(one.std()) / len(x) ** 0.5
        expected = build_world(options).truth(k, W, target).nll_unconditional
        assert -float(one.mean()) == pytest.approx(expected, abs=error)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("k", "target"), [(1, "delta"), (2, "delta"), (2, "x")])
def test_scores_of_samples_are_the_world_s(name, k, target):
    """Energy score, and spread over error, from 20,000 independent contexts of the world."""
    options, samples = SMALL[name], 4
    x = build_world(options).sample(20_000, W + k, np.random.default_rng(6)).astype(np.float32)
    y = torch.from_numpy(x[:, -1] - x[:, -2] if target == "delta" else x[:, -1]).double()
    frames = frames_of(options, k, target)
    torch.manual_seed(0)
    for blind in (False, True):
        one = fitted(name, PARAMETERS.get(name, {}), frames.without_context() if blind else frames)
        drawn = one(torch.from_numpy(x[:, :W])).sample((samples,)).double()
        away = (drawn - y).norm(dim=-1).mean(0)
        apart = torch.stack([(a - b).norm(dim=-1) for a, b in combinations(drawn, 2)]).mean(0)
        score = away - 0.5 * apart
        figures = build_world(options).truth(k, W, target)
        truth = figures.energy_score_unconditional if blind else figures.energy_score
        error = 4 * float(score.std()) / len(x) ** 0.5
        assert error < 0.05 * figures.energy_score_unconditional
        assert float(score.mean()) == pytest.approx(truth, abs=error)
        # E of M/(M+1) |y - mean|² less the samples' variance is 0 for a calibrated density.
        spread = drawn.var(0).sum(-1)
        off = spread * (samples + 1) / samples - (y - drawn.mean(0)).square().sum(-1)
        assert float(off.mean().abs()) < 4 * float(off.std()) / len(x) ** 0.5


@pytest.mark.parametrize("name", ["ar1", "switching"])
def test_state_brings_the_density_back(name):
    frames = frames_of(SMALL[name], 2, "delta")
    first = fitted(name, PARAMETERS.get(name, {}), frames)
    second = exact(ExactOptions(name), context_frames=W, dim=3)
    second.load_state_dict(first.state_dict())
    batch = frames.batch(np.arange(5))
    densities = [one(batch.context).log_prob(batch.target) for one in (first, second)]
    assert torch.equal(*densities)


def test_parameters_change_the_world():
    frames = frames_of(Ar1Options(dim=2, rho=0.9), 1, "x")
    batch = frames.batch(np.arange(3))
    mean = fitted("ar1", {"rho": 0.9}, frames)(batch.context).mean
    assert mean.numpy() == pytest.approx(0.9 * batch.context[:, -1].numpy(), abs=1e-6)


def test_a_world_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match=r"no world called 'ar11'.\nDid you mean 'ar1'\?"):
        exact(ExactOptions("ar11"), context_frames=W, dim=2)
    with pytest.raises(UsageError, match=r"'ar1': rho: Input should be less than 1"):
        exact(ExactOptions("ar1", {"rho": 1.5}), context_frames=W, dim=2)
    with pytest.raises(UsageError, match="says dim=4; the latents have 2"):
        exact(ExactOptions("ar1", {"dim": 4}), context_frames=W, dim=2)


def test_a_delta_over_several_frames_is_refused():
    predictor = exact(ExactOptions("ar1"), context_frames=W, dim=2)
    with pytest.raises(UsageError, match="changes over one frame, not over 2"):
        predictor.fit(frames_of(Ar1Options(dim=2), 1, "delta", step=2), TRAINING)
