"""The published attempt shows its own faults where the truth is known."""

import math

import numpy as np
import pytest
import torch

from latentbench.errors import UsageError
from latentbench.factorizations import Fitting
from latentbench.factorizations.original import Gaussian, Original, _batch
from latentbench.factorizations.plugin import OriginalOptions
from latentbench.latents import Latents
from latentbench.worlds.gaussian import factored

D, STATE, RHO = 6, 2, 0.9
WORLD = factored(D, STATE, RHO, 1.0, 1)
PAST_LEAVES = STATE * (1 - RHO**2) + D - STATE


@pytest.fixture(scope="module")
def trained():
    rows = WORLD.sample(80, 40, np.random.default_rng(1)).astype(np.float32)
    latents = Latents.from_arrays(
        {str(number): one for number, one in enumerate(rows)}, {str(n): "s" for n in range(80)}
    )
    options = OriginalOptions(
        dim=12, innovation=4, width=32, steps=400, warmup=100, learning_rate=5e-3
    )
    made = Original(options)
    made.fit(latents, range(40), Fitting(torch.device("cpu")))
    return made, torch.cat([latents.utterance(index) for index in range(40, 80)])


def error(made, x, *, of_prior):
    states = made.encode(x)
    with torch.inference_mode():
        posterior, prior = made.network.belief(states, made.whitening.whiten(x))
        drawn = (prior if of_prior else posterior).rsample()
        rebuilt = made.whitening.colour(made.network.rebuild(states, drawn))
    return float((x - rebuilt).square().sum(-1).mean())


def test_its_innovation_tells_next_to_nothing_of_the_frame(trained):
    made, x = trained
    torch.manual_seed(0)
    by_prior, by_posterior = (error(made, x, of_prior=which) for which in (True, False))
    # Either rebuilds what no state told by the past could: the state has seen the frame.
    assert by_posterior < 0.2 * PAST_LEAVES
    assert by_prior < 0.2 * PAST_LEAVES
    assert by_prior - by_posterior < 0.1 * (PAST_LEAVES - by_posterior)


def test_its_budget_is_met_all_the_same(trained):
    made, x = trained
    assert float(made.account(x).kl.mean()) == pytest.approx(2.0, rel=0.2)
    assert made.account(x).innovation is None


def test_its_state_sees_its_own_frame(trained):
    made, x = trained
    changed = x[:30].clone()
    changed[20] += 3
    assert (made.encode(x[:30])[20] - made.encode(changed)[20]).norm() > 0.1


def test_the_loss_of_its_dynamics_is_a_constant(trained):
    made, x = trained
    states = made.encode(x).reshape(40, 40, -1)
    with torch.inference_mode():
        surprise = float(made.network.surprise(states).mean())
    constant = 0.5 * made.dim * math.log(2 * math.pi)
    assert constant / surprise > 0.9
    # It is not that the state stands still: it is small, and moves as much as frames do.
    centred = states - states.mean((0, 1))
    spread = centred.square().sum(-1).mean()
    moved = float((states.diff(dim=1).square().sum(-1).mean() / spread).sqrt())
    assert float(spread) < 0.3 * made.dim
    assert moved > 0.5


def test_padding_is_no_frame():
    utterances = [torch.ones(3, 2), torch.ones(5, 2)]
    torch.manual_seed(1)
    frames, there = _batch(utterances, 8, torch.device("cpu"))
    assert set(there.sum(1).tolist()) == {3, 5}
    torch.testing.assert_close(frames.sum((1, 2)), 2.0 * there.sum(1))


def test_scales_are_clamped_as_published():
    made = Gaussian()(torch.tensor([[0.0, 9.0], [0.0, -9.0]]))
    assert made.stddev.flatten().tolist() == pytest.approx([math.e, math.exp(-6)])


def test_utterances_of_one_frame_are_refused(fitted):
    latents = Latents.from_arrays(
        {name: np.random.default_rng(0).normal(size=(1, 3)).astype(np.float32) for name in "abc"},
        dict.fromkeys("abc", "s"),
    )
    with pytest.raises(UsageError, match="no train utterance of two frames"):
        fitted(Original(OriginalOptions(dim=2)), latents)
