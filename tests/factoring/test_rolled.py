"""Rollouts of states, decoded into x."""

import pytest
import torch

import latentbench as lb
from latentbench.api import configure
from latentbench.factoring.rolled import decoded_rollouts, rolled_into_x
from latentbench.opened import OpenedRun
from latentbench.plugins import load_registry
from latentbench.results.uncertainty import estimate
from latentbench.workspace import Workspace

D, STATE, RHO = 6, 4, 0.9
WORLD = {
    "name": "world:factored", "dim": D, "predictable": STATE, "rho": RHO, "speakers": 60,
    "utterances": 4, "frames": 120,
}  # fmt: skip


@pytest.fixture
def opened(tmp_path):
    def make(factorization, predictor="linear", horizon_ms=80.0, **settings):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        lb.run(
            preset="lb1", encoder="latents", corpus=WORLD,
            predictor={"name": predictor}, factorization=factorization, seeds=[0],
            task={"horizons_ms": [horizon_ms], "context_ms": 160.0}, transforms=[],
            rollout={"utterances": 60}, out=folder, cache=tmp_path / "cache", progress=False,
            **settings,
        )  # fmt: skip
        return OpenedRun(folder, Workspace(tmp_path / "cache"), load_registry())

    return make


@pytest.mark.parametrize("horizon", [1, 2])
def test_a_state_of_all_directions_rolls_out_as_x_does(opened, horizon):
    """Least squares commute with an invertible map, and so do its rollouts by means."""
    whole = {"name": "linear", "dim": D, "keep": 1e-6}
    of_x, of_state = (opened(one, horizon_ms=80.0 * horizon) for one in ({"name": "none"}, whole))
    pairs = list(
        zip(*(decoded_rollouts(one, horizon, "mean") for one in (of_x, of_state)), strict=True)
    )
    assert pairs
    for x, state in pairs:
        assert (x.utterance, x.start) == (state.utterance, state.start)
        torch.testing.assert_close(state.made, x.made, rtol=0, atol=1e-4)
        torch.testing.assert_close(x.true, of_x.encoded.utterance(x.utterance)[: len(x.true)])
        assert (x.made - x.true)[x.start :].abs().max() > 0.1
        assert torch.equal(x.made[: x.start], x.true[: x.start])


def test_samples_of_the_right_model_stay_alive_as_long_as_is_seen(opened):
    found = rolled_into_x(opened({"name": "linear", "dim": STATE}), 1)
    assert found.life.death is None
    assert found.life.until == 64  # of 117 frames after the first window


def test_white_samples_die_at_once(opened):
    """They step by √2 of the spread, true states by √(2 (1 - rho)): over three times as far."""
    found = rolled_into_x(opened({"name": "linear", "dim": STATE}, predictor="marginal"), 1)
    assert (found.life.until, found.life.death.depth) == (0, 1)
    wanted = (1 - RHO) ** -0.5
    assert found.life.death.magnitude_ratio == pytest.approx(wanted, rel=0.25)
    assert estimate(found.movement).value == pytest.approx(wanted, rel=0.1)


def test_where_nothing_is_rolled_out_nothing_is_told(opened):
    assert rolled_into_x(opened({"name": "none"}, set=["rollout.utterances=0"]), 1) is None


def test_frames_without_a_way_back_are_not_told():
    class Run:
        config = configure(transforms=["standardize", "shuffled-frames"])
        registry = load_registry()

    assert rolled_into_x(Run(), 1) is None
