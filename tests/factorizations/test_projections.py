"""Projections: the right subspace, the least error, and every nat counted once."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from latentbench.errors import UsageError
from latentbench.factorizations.plugin import LinearOptions, ProjectionOptions, RandomOptions
from latentbench.factorizations.projections import Linear, Principal, Random
from latentbench.worlds.gaussian import factored, state_space, var

FRAMES = 16_000
ALL = (
    lambda dim: Linear(LinearOptions(dim=dim)),
    lambda dim: Principal(ProjectionOptions(dim=dim)),
    lambda dim: Random(RandomOptions(dim=dim, seed=4)),
)


def directions(made):
    """Of x, that z_dyn depends on, [D, d]."""
    return (made.whitening.into @ made.basis[:, : made.dim]).double().numpy()


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
def test_linear_finds_the_state_of_a_factored_world(drawn, fitted, tau):
    world = factored(16, 4, 0.9, tau, 1)
    made = fitted(Linear(LinearOptions(dim=4)), drawn(world))
    # A direction off by an angle e gains a share e^2 less; eigenvectors err by 1/sqrt(frames).
    assert np.degrees(subspace_angles(directions(made), world.basis).max()) < 5


def test_variance_does_not_find_the_state_that_innovation_outweighs(drawn, fitted):
    world = factored(16, 4, 0.9, 3.0, 1)
    made = fitted(Principal(ProjectionOptions(dim=4)), drawn(world))
    assert np.degrees(subspace_angles(directions(made), world.basis).max()) > 60


def test_linear_finds_the_slowest_states_behind_noise(drawn, fitted):
    # The states are orthogonal, of one variance, and the noise is white: those of the largest
    # poles are the most predictable.
    world = state_space(6, 0.95, 0.5, 1)
    made = fitted(Linear(LinearOptions(dim=2, lags=8)), drawn(world, utterances=100))
    assert np.degrees(subspace_angles(directions(made), world.observation[:, -2:]).max()) < 20


def test_linear_orders_directions_by_the_generalised_eigenvalues(drawn, fitted):
    from scipy.linalg import eigh

    world = var(5, 0.1, 0.95, 1)
    latents = drawn(world)
    made = fitted(Linear(LinearOptions(dim=5, lags=1)), latents)
    # The covariance P = A P A' + Q is known, and so is the residual covariance Q.
    values, vectors = eigh(world.covariance("x"), world.noise)
    assert values[-1] > 1.5 * values[-2]
    angle = subspace_angles(directions(made)[:, :1], vectors[:, -1:])
    assert np.degrees(angle.max()) < 5


@pytest.mark.parametrize("make", ALL)
def test_states_are_white_and_of_unit_variance(drawn, fitted, make):
    latents = drawn(var(6, 0.1, 0.9, 2))
    made = fitted(make(3), latents)
    states = torch.cat([made.encode(latents.utterance(one)) for one in range(40)]).double()
    np.testing.assert_allclose(np.cov(states.numpy().T), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(states.mean(0), 0, atol=1e-3)


@pytest.mark.parametrize("make", ALL)
def test_decoding_is_the_regression_of_x_on_the_states(drawn, fitted, make):
    latents = drawn(var(6, 0.1, 0.9, 2))
    made = fitted(make(3), latents)
    x = torch.cat([latents.utterance(one) for one in range(40)])
    states = made.encode(x)
    design = np.column_stack([np.ones(FRAMES), states.double().numpy()])
    best = design @ np.linalg.lstsq(design, x.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(made.decode(states), best, atol=0.01)


def test_variance_rebuilds_best(drawn, fitted):
    latents = drawn(factored(8, 2, 0.9, 2.0, 1))
    x = torch.cat([latents.utterance(one) for one in range(40)])
    errors = {}
    for make in ALL:
        made = fitted(make(3), latents)
        errors[type(made)] = float((x - made.decode(made.encode(x))).square().sum(1).mean())
    assert errors[Principal] < min(errors[Linear], errors[Random])


@pytest.mark.parametrize("make", ALL)
def test_states_and_innovation_together_are_the_frames(drawn, fitted, make):
    latents = drawn(var(6, 0.1, 0.9, 2))
    made = fitted(make(2), latents)
    x = latents.utterance(0)
    torch.testing.assert_close(made.account(x).rebuilt, x, atol=1e-3, rtol=0)


@pytest.mark.parametrize("make", ALL)
def test_no_code_is_shorter_than_the_density_of_the_world(drawn, fitted, make):
    """NLL of the state given its own past, and of the rest, is no less than that of x."""
    world = factored(8, 2, 0.9, 1.0, 1)
    latents = drawn(world)
    made = fitted(make(2), latents)
    truth = world.truth(1, 8, "x")
    # In whitened coordinates: the volume of train's whitening is known exactly.
    shift = float(torch.linalg.slogdet(made.whitening.into.double())[1])
    x = torch.cat([latents.utterance(one) for one in range(40)])
    innovation = float(made.account(x).innovation.mean())
    seen = directions(made)
    gain = _gain_of_best_prediction(world, seen)
    state = 0.5 * made.dim * np.log(2 * np.pi * np.e) - gain
    total, least = state + innovation, truth.nll + shift
    noise = 0.5 * 8 / np.sqrt(FRAMES)  # of a mean of squares of 8 dimensions
    assert total > least - 3 * noise
    if isinstance(made, Linear):
        assert total < least + 3 * noise + 0.02
    else:
        assert total > least + 0.2


def _gain_of_best_prediction(world, seen):
    """Of the states given all of the past of x, which knows more than their own, nats."""
    covariance = seen.T @ world.covariance("x") @ seen
    step = world.observation @ world.transition @ world.observation.T
    explained = seen.T @ step @ world.covariance("x") @ step.T @ seen
    left = np.linalg.slogdet(covariance - explained)[1]
    return 0.5 * (np.linalg.slogdet(covariance)[1] - left)


def test_more_dimensions_than_directions_are_refused(drawn, fitted):
    latents = drawn(var(4, 0.1, 0.9, 2))
    with pytest.raises(UsageError, match=r"factorization\.dim=5 .* have 4 of 4 directions"):
        fitted(Principal(ProjectionOptions(dim=5)), latents)


def test_too_few_frames_for_the_prediction_are_refused(drawn, fitted):
    latents = drawn(var(4, 0.1, 0.9, 2), utterances=1, frames=30)
    with pytest.raises(UsageError, match="from 8 frames of 4 dimensions, and train has only 22"):
        fitted(Linear(LinearOptions(dim=2, lags=8)), latents)
