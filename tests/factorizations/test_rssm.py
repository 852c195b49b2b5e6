"""The recurrent state-space model where the truth is known: rates, errors, and every nat counted.

Expected values are closed forms of `world:factored`. Given the past, u_t is Gaussian with variance
1 - rho² in d directions and τ² in q; the least squared error at B nats is by reverse water-filling
(Cover & Thomas, section 10.3.3), the least bound is the entropy.
"""

import math

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from latentbench.errors import UsageError
from latentbench.factorizations.plugin import RssmOptions
from latentbench.factorizations.rssm import Network, Rssm, _Stretches
from latentbench.latents import Latents
from latentbench.worlds.gaussian import factored

RHO, STATE, REST = 0.9, 4, 12
WORLD = factored(STATE + REST, STATE, RHO, 1.0, 1)
LEFT = [1 - RHO**2] * STATE + [1.0] * REST  # variances given the past
START = 20  # frames until the past is known as well as it will be
QUICK = {"width": 32, "frames": 24, "batch_size": 64, "learning_rate": 3e-3, "dim": 8}


def least_error(nats):
    """Reverse water-filling over `LEFT`, by bisection on the level."""
    low, high = 1e-9, max(LEFT)
    for _ in range(100):
        level = np.sqrt(low * high)
        rate = sum(0.5 * np.log(one / level) for one in LEFT if one > level)
        low, high = (level, high) if rate > nats else (low, level)
    return sum(min(one, level) for one in LEFT)


def accounted(made, latents):
    """Means over the frames from `START` on: squared error, KL, the bound, the error of h alone."""
    found = []
    for index in range(len(latents.utterances)):
        x = latents.utterance(index)
        told = made.account(x)
        alone = (x - made.decode(made.encode(x))).square().sum(-1)
        error = (x - told.rebuilt).square().sum(-1)
        found.append(torch.stack([error, told.kl, told.innovation, alone], -1)[START:])
    return torch.cat(found).double().mean(0).tolist()


@pytest.fixture(scope="module")
def trained():
    def draw(seed):
        rows = WORLD.sample(60, 200, np.random.default_rng(seed)).astype(np.float32)
        arrays = {str(number): one for number, one in enumerate(rows)}
        return Latents.from_arrays(arrays, {name: name for name in arrays})

    from latentbench.factorizations import Fitting

    train, test = draw(1), draw(2)
    made = {}

    def fit(budget, steps):
        if budget not in made:
            one = Rssm(RssmOptions(budget=budget, steps=steps, **QUICK))
            one.fit(train, range(60), Fitting(torch.device("cpu")))
            made[budget] = (one, accounted(one, test))
        return made[budget]

    return fit


@pytest.mark.parametrize(("budget", "steps"), [(2.0, 400), (8.0, 400), (32.0, 1500)])
def test_error_and_rate_lie_just_above_the_rate_distortion_curve(trained, budget, steps):
    _, (error, kl, _, _) = trained(budget, steps)
    assert kl == pytest.approx(budget, rel=0.05)
    # No model lies below; the sample of 10,800 frames may, by its own standard error.
    assert 0.98 * least_error(kl) < error < 1.1 * least_error(kl)


def test_the_bound_lies_above_the_entropy_and_near_it(trained):
    made, (_, _, bound, _) = trained(8.0, 400)
    volume = float(torch.linalg.slogdet(made.whitening.into.double())[1])
    entropy = WORLD.truth(1, 8, "x").nll + volume
    noise = (STATE + REST) ** 0.5 / 2**0.5 / 10_800**0.5
    assert entropy - 3 * noise < bound < entropy + 1.0
    # Without the past it could not be: what the past tells is more than the slack.
    blind = 0.5 * (STATE + REST) * np.log(2 * np.pi * np.e)
    assert bound < blind - 2.0


def test_the_state_alone_predicts_as_well_as_the_past_allows(trained):
    _, (_, _, _, alone) = trained(8.0, 400)
    assert alone == pytest.approx(sum(LEFT), rel=0.03)


def test_a_state_knows_nothing_of_its_own_frame(trained):
    made, _ = trained(8.0, 400)
    x = torch.randn(30, STATE + REST, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[20] += 5
    states, others = made.encode(x), made.encode(changed)
    torch.testing.assert_close(states[:21], others[:21], rtol=0, atol=0)
    assert (states[21] - others[21]).abs().max() > 1e-3


def test_the_account_of_the_same_frames_is_the_same(trained):
    made, _ = trained(8.0, 400)
    x = torch.randn(30, STATE + REST, generator=torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    one, other = made.account(x), made.account(x)
    torch.testing.assert_close(one.innovation, other.innovation, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("innovation", [3, 5, 8])
def test_training_starts_on_the_curve_of_white_frames(innovation):
    """D(R) = exp(-2R / n) of n Gaussian components of variance 1 told alike."""
    budget, told = 4.0, min(innovation, 5)
    network = Network(5, 4, innovation, 8)
    network.start(math.exp(-2 * budget / told))
    drawn = torch.Generator().manual_seed(0)
    frames, states = (torch.randn(100_000, size, generator=drawn) for size in (5, 4))
    with torch.no_grad():
        posterior, prior = network.belief(states, frames)
        rebuilt = network.rebuild(states, posterior.sample())
    kl = kl_divergence(posterior, prior).sum(-1).mean()
    error = (frames - rebuilt).square().sum(-1).mean()
    assert float(kl) == pytest.approx(budget, rel=0.01)
    left = told * math.exp(-2 * budget / told) + 5 - told
    assert float(error) == pytest.approx(left, rel=0.02)


def test_utterances_of_one_frame_are_refused(fitted):
    drawn = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
    arrays = dict(zip("abcde", drawn, strict=True))
    latents = Latents.from_arrays(arrays, dict.fromkeys("abcde", "s"))
    with pytest.raises(UsageError, match="no train utterance of two frames"):
        fitted(Rssm(RssmOptions(dim=2)), latents)


@pytest.mark.parametrize(("frames", "used"), [(50, 10), (20, 19)])
def test_short_utterances_are_trained_on_too(frames, used):
    utterances = [torch.full((count, 1), float(count)) for count in range(30, 49)]
    drawn = _Stretches(utterances, frames, 1_000).draw()
    assert drawn.shape == (1_000, min(frames, 39), 1)
    assert len(drawn[:, 0].unique()) == used
