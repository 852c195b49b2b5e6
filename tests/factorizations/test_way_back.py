"""From what a run looks at back to frames of its encoder."""

import pytest
import torch

import latentbench as lb
from latentbench.opened import OpenedRun
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

D, STATE = 6, 2
WORLD = {"name": "world:factored", "dim": D, "predictable": STATE, "speakers": 8, "frames": 60}


@pytest.fixture
def opened(tmp_path):
    def make(dim, transforms):
        lb.run(
            preset="lb1", encoder="latents", corpus=WORLD, predictor="linear",
            factorization={"name": "linear", "dim": dim}, transforms=transforms, horizons=[1],
            seeds=[0], out=tmp_path / "run", cache=tmp_path / "cache", progress=False,
            set=["utterances.min_seconds=0", "rollout.utterances=0", "device=cpu"],
        )  # fmt: skip
        return OpenedRun(tmp_path / "run", Workspace(tmp_path / "cache"), load_registry())

    return make


@pytest.mark.parametrize("transforms", [[], ["standardize"], [{"name": "pca", "whiten": True}]])
def test_a_state_of_all_directions_leads_back_to_x(opened, transforms):
    run = opened(D, transforms)
    back = run.as_encoded(run.latents.utterance(0))
    torch.testing.assert_close(back, run.encoded.utterance(0), rtol=0, atol=2e-4)


def test_a_narrower_state_stays_in_its_subspace(opened):
    run = opened(STATE, [])
    any_states = torch.randn(40, STATE, generator=torch.Generator().manual_seed(0))
    back = run.as_encoded(any_states)
    moved = (back - back.mean(0)).double()
    assert torch.linalg.matrix_rank(moved, rtol=1e-4) == STATE
    again = run.as_encoded(run.latents.utterance(0))
    missed = (run.encoded.utterance(0) - again).square().sum()
    spread = (run.encoded.utterance(0) - run.encoded.utterance(0).mean(0)).square().sum()
    assert 0.3 < missed / spread < 0.95  # all but 2 of 6 directions of equal variance
