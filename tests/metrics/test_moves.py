"""What a rollout moves by, for every density a predictor here may give."""

import numpy as np
import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from latentbench.errors import UsageError
from latentbench.metrics.controls import Shifted
from latentbench.metrics.moves import most_likely_component, move
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.student import StudentMixture

B, K, D = 5, 3, 4


@pytest.fixture
def parts():
    torch.manual_seed(3)
    return torch.randn(B, K), torch.randn(B, K, D), 0.3 * torch.randn(B, K, D)


def by_hand(logits, means):
    return np.stack(
        [
            row[np.argmax(weights)]
            for weights, row in zip(logits.numpy(), means.numpy(), strict=True)
        ]
    )


def test_the_component_of_the_largest_weight(parts):
    logits, means, log_sigmas = parts
    expected = by_hand(logits, means)
    torch_mixture = MixtureSameFamily(
        Categorical(logits=logits), Independent(Normal(means, log_sigmas.exp()), 1)
    )
    laplaces = MixtureSameFamily(
        Categorical(logits=logits), Independent(Laplace(means, log_sigmas.exp()), 1)
    )
    student = StudentMixture(logits, means, log_sigmas, torch.full((K,), 4.0))
    for density in (
        DiagonalGaussianMixture(logits, means, log_sigmas),
        torch_mixture,
        laplaces,
        student,
    ):
        np.testing.assert_array_equal(most_likely_component(density), expected)
        assert not torch.allclose(density.mean, torch.from_numpy(expected), atol=0.1)


def test_one_component_is_its_mean(parts):
    mean = parts[1][:, 0]
    for density in (
        Independent(Normal(mean, torch.ones(B, D)), 1),
        MultivariateNormal(mean, torch.eye(D)),
        LowRankMultivariateNormal(mean, torch.ones(D, 1), torch.ones(D)),
        SharedGaussian(mean.double(), torch.ones(D, dtype=torch.float64)),
    ):
        torch.testing.assert_close(most_likely_component(density), mean)


def test_a_shifted_density_has_its_component_shifted(parts):
    logits, means, log_sigmas = parts
    shift = torch.randn(B, D)
    density = Shifted(DiagonalGaussianMixture(logits, means, log_sigmas), shift)
    expected = by_hand(logits, means) + shift.numpy()
    np.testing.assert_allclose(move(density, "component"), expected, rtol=1e-6)


def test_mean_and_sample_are_those_of_the_density(parts):
    density = DiagonalGaussianMixture(*parts)
    assert torch.equal(move(density, "mean"), density.mean)
    torch.manual_seed(1)
    drawn = move(density, "sample")
    torch.manual_seed(1)
    assert torch.equal(drawn, density.sample())


def test_a_density_that_does_not_tell_is_named():
    class Opaque(torch.distributions.Distribution):
        arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute

    density = Opaque(torch.Size([B]), torch.Size([D]), validate_args=False)
    with pytest.raises(UsageError, match=r"Opaque does not tell .*\n.*'mode_component' \[B, D\]"):
        most_likely_component(density)
