"""The bound of a latent variable, where the NLL is known."""

import dataclasses

import numpy as np
import pytest
import torch

from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.predictors.neural.network import neural
from latentbench.predictors.plugin import RssmOptions
from latentbench.tasks import WindowTask
from latentbench.worlds.gaussian import factored, state_space

CONTEXT = 8
SMALL = RssmOptions(width=32, head_width=32)
WORLDS = {"state-space": state_space(4, 0.95, 0.5, 1), "factored": factored(6, 2, 0.9, 1.0, 1)}


def frames_of(world, seed):
    rows = world.sample(100, 200, np.random.default_rng(seed)).astype(np.float32)
    arrays = {str(number): one for number, one in enumerate(rows)}
    latents = Latents.from_arrays(arrays, {name: name for name in arrays})
    return WindowTask(CONTEXT, 1, target="x", frame_set="own").frames(latents, range(100))


@pytest.fixture(scope="module")
def fitted(fit):
    made = {}

    def of(name):
        if name not in made:
            torch.manual_seed(0)
            model = neural(SMALL, context_frames=CONTEXT, dim=WORLDS[name].dim)
            frames = frames_of(WORLDS[name], 1)
            made[name] = fit(model, frames, 300, batch_size=256, learning_rate=5e-3)
        return made[name]

    return of


def nll_by(model, batch, draws):
    model.head.options = dataclasses.replace(SMALL, draws=draws)
    with torch.no_grad():
        return -model(batch.context).log_prob(batch.target)


@pytest.mark.parametrize("name", WORLDS)
def test_the_bound_lies_above_the_nll_and_near_it(fitted, name):
    world = WORLDS[name]
    batch = frames_of(world, 2).batch(np.arange(8_000))
    truth = world.truth(1, CONTEXT, "x")
    found = nll_by(fitted(name), batch, 16)
    error = float(found.std()) / len(found) ** 0.5
    assert -4 * error < float(found.mean()) - truth.nll < 0.15 + 4 * error
    # Most of what the context tells is seen.
    assert float(found.mean()) < truth.nll_unconditional - 0.75 * (
        truth.nll_unconditional - truth.nll
    )


def test_more_draws_bring_the_bound_down(fitted):
    batch = frames_of(WORLDS["factored"], 2).batch(np.arange(4_000))
    model = fitted("factored")
    by = {draws: nll_by(model, batch, draws) for draws in (1, 4, 64)}
    for few, many in ((1, 4), (4, 64)):
        apart = by[few] - by[many]
        assert float(apart.mean()) > 2 * float(apart.std()) / len(apart) ** 0.5


def test_one_draw_is_the_evidence_lower_bound(fitted):
    model = fitted("factored")
    batch = frames_of(WORLDS["factored"], 2).batch(np.arange(8_000))
    by_draws = nll_by(model, batch, 1)
    torch.manual_seed(1)
    with torch.no_grad():
        # By other draws, and the KL in closed form.
        in_closed_form = float(model.loss(batch.context, batch.target))
    error = float(by_draws.std()) / len(by_draws) ** 0.5
    assert float(by_draws.mean()) == pytest.approx(in_closed_form, abs=4 * error)


def test_a_score_does_not_depend_on_the_frames_beside_it(fitted):
    model = fitted("factored")
    batch = frames_of(WORLDS["factored"], 2).batch(np.arange(50))
    together = nll_by(model, batch, 16)
    with torch.no_grad():
        alone = [
            -model(batch.context[i : i + 1]).log_prob(batch.target[i : i + 1]) for i in range(50)
        ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_other_targets_have_other_draws():
    torch.manual_seed(0)
    head = neural(SMALL, context_frames=2, dim=3).head
    drawn = head.table(torch.randn(2_000, 3), 16).reshape(-1, 3)
    assert len(drawn[::16].unique(dim=0)) > 1_000
    assert drawn.mean(0).abs().max() < 0.1
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.03)


def test_it_is_declared_a_bound():
    spec = load_registry().get("predictor", "rssm").spec
    assert spec.density_of(RssmOptions()) == "bound"
    assert spec.density_of(RssmOptions(head="mdn")) == "exact"
