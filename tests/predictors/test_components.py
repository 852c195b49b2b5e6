"""The components of every density a predictor here may give, and what a rollout moves by."""

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
from latentbench.plugins import load_registry
from latentbench.predictors.densities import components_of, most_likely_component
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture, StudentMixture
from latentbench.predictors.robust import AnchoredDensity
from latentbench.predictors.standardised import Rescaled
from latentbench.rollout.engine import move
from latentbench.specs import option_fields

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
        SharedGaussian(mean.double(), torch.eye(D, dtype=torch.float64)),
    ):
        torch.testing.assert_close(most_likely_component(density), mean)
    shared = SharedGaussian(mean[0].double().expand(B, -1), torch.ones(D).double())
    torch.testing.assert_close(most_likely_component(shared), mean[0].expand(B, D))


@pytest.mark.parametrize("tails", ["gaussian", "student-t"])
def test_the_anchor_competes_with_what_was_learned(parts, tails):
    """Row by row over all K + 1 components, each with its weight in the whole density."""
    logits, means, log_sigmas = parts
    learned = (
        DiagonalGaussianMixture(logits, means, log_sigmas)
        if tails == "gaussian"
        else StudentMixture(logits, means, log_sigmas, torch.full((K,), 4.0))
    )
    gates = torch.linspace(-3.0, 2.0, B)
    anchor, scale = torch.linspace(-1.0, 1.0, D).double(), torch.linspace(0.5, 3.0, D).double()
    least = 0.01
    density = Rescaled(AnchoredDensity(learned, gates, least), anchor, scale)
    expected, winners = [], []
    for row in range(B):
        gate = 1.0 / (1.0 + np.exp(-gates[row].item()))
        weight = least + (1.0 - least) * gate
        shares = np.exp(logits[row].numpy()) / np.exp(logits[row].numpy()).sum()
        candidates = [(weight, anchor.numpy())]
        candidates += [
            ((1.0 - weight) * share, anchor.numpy() + scale.numpy() * one.numpy())
            for share, one in zip(shares, means[row], strict=True)
        ]
        winner = max(range(K + 1), key=lambda i, found=candidates: found[i][0])
        winners.append(winner)
        expected.append(candidates[winner][1])
    assert winners[0] > 0
    assert winners[-1] == 0
    found = most_likely_component(density)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6)


def every_mixture(parts):
    """One of each family that is a mixture, of batch [B]."""
    logits, means, log_sigmas = parts
    bounds = (-0.2, 0.2)
    gaussian = DiagonalGaussianMixture(logits, means, log_sigmas, bounds)
    student = StudentMixture(logits, means, log_sigmas, torch.tensor([2.5, 4.0, 60.0]), bounds)
    mean, scale = torch.linspace(-1.0, 1.0, D).double(), torch.linspace(0.5, 3.0, D).double()
    gates = torch.linspace(-3.0, 2.0, B)
    found = {"gaussian": gaussian, "student": student}
    for name, learned in list(found.items()):
        found[f"anchored {name}"] = AnchoredDensity(learned, gates, 0.01)
    found |= {f"rescaled {name}": Rescaled(one, mean, scale) for name, one in found.items()}
    found["shared"] = SharedGaussian(means[:, 0].double(), scale.square())
    found["marginal"] = SharedGaussian(mean.expand(B, -1), scale.square())
    found["torch"] = Independent(Normal(means[:, 0], log_sigmas[:, 0].exp()), 1)
    return found


MIXTURES = list(every_mixture((torch.zeros(B, K), torch.zeros(B, K, D), torch.zeros(B, K, D))))


@pytest.mark.parametrize("name", MIXTURES)
def test_the_components_together_are_the_density(parts, name):
    density, target = every_mixture(parts)[name], torch.randn(B, D)
    joint = components_of(density).log_joint(target.double())
    whole = joint.logsumexp(-1) - D / 2 * np.log(2 * np.pi)
    torch.testing.assert_close(whole, density.log_prob(target).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_sigmas_lie_at_or_above_their_floor(parts, name):
    found = components_of(every_mixture(parts)[name])
    log_sigma = found.sigmas.double().log()
    assert (log_sigma >= found.floor - 1e-5).all()
    clamped = (log_sigma <= found.floor + 1e-5).sum()
    learned = name.removeprefix("rescaled ").removeprefix("anchored ") in {"gaussian", "student"}
    assert clamped == ((parts[2] <= -0.2).sum() if learned else 0)  # the marginal has no clamp


PREDICTORS = [
    *(
        component.spec.name
        for component in load_registry().of_kind("predictor")
        if component.provider.distribution == "latentbench"
    ),
    "mdn-robust student-t",
]
SMALL = {"width": 8, "components": K, "reservoir": 4, "world": "switching", "parameters": {}}


@pytest.mark.parametrize("name", PREDICTORS)
def test_every_predictor_tells_what_it_moves_by(name):
    name, _, tails = name.partition(" ")
    component = load_registry().get("predictor", name)
    accepted = {option.name for option in option_fields(component.spec.options)}
    given = {key: value for key, value in SMALL.items() if key in accepted}
    options = component.spec.options(**given, **({"tails": tails} if tails else {}))
    torch.manual_seed(0)
    predictor = component.create(options, context_frames=3, dim=D).eval()
    if (
        component.spec.density_of(options) == "bound"
    ):  # a latent variable has no likeliest component
        with pytest.raises(UsageError, match="most likely component"):
            move(predictor(torch.randn(B, 3, D)), "component")
        return
    found = move(predictor(torch.randn(B, 3, D)), "component")
    assert found.shape == (B, D)
    assert found.isfinite().all()


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
