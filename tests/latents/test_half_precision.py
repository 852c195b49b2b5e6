"""Latents kept as float16: how far they are off, what they refuse, and that a result says so."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.config import ComponentConfig, LatentsConfig, RunConfig
from latentbench.errors import LatentbenchError
from latentbench.experiment import run_experiment
from latentbench.latents.latents import Latents, StoredUtterance
from latentbench.latents.store import LatentStore, ShardEntry
from latentbench.plugins import load_registry
from latentbench.progress import SILENT
from latentbench.workspace import Workspace

HALF = LatentsConfig(dtype="float16")
MOST = 65_504.0
NORMAL = 2.0**-14


def kept(folder, rows):
    store = LatentStore(folder, {"encoder": "e", "corpus": "c", "dtype": "float16"})
    with store.writing(SILENT):
        store.add(rows, torch.zeros(len(rows)), [ShardEntry("u", "d", "", 0, [len(rows)])])
    ((latents, energy),) = store.open_shards([store.entries()["u", "d"].shard])
    assert energy.dtype == torch.float32
    return latents


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-MOST, MOST, width=32), min_size=1, max_size=20))
def test_a_number_is_off_by_half_a_step_at_most(tmp_path_factory, numbers):
    """Round to nearest: 2^-11 of a normal number, 2^-25 below (IEEE 754, binary16)."""
    rows = torch.tensor(numbers, dtype=torch.float32)[:, None]
    found = kept(tmp_path_factory.mktemp("half"), rows)
    assert found.dtype == torch.float16
    apart = (found.double() - rows.double()).abs()
    assert (apart <= (rows.double().abs() * 2.0**-11).clamp(min=2.0**-25)).all()


@pytest.mark.parametrize("cuts", [(), (3,), (1, 4)])
def test_rows_of_any_number_of_shards_are_float32_when_they_are_gathered(cuts):
    rows = torch.arange(10.0).reshape(5, 2).half()
    one = StoredUtterance("u", "s", 0, 5)
    shards = torch.tensor_split(rows, cuts)
    gathered = Latents(shards, np.zeros(5, np.float32), [one], 1.0).utterance(0)
    assert gathered.dtype == torch.float32
    assert torch.equal(gathered, rows.float())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_beyond_float16_is_an_error_that_says_what_to_do(tmp_path, sign):
    assert kept(tmp_path / "fits", torch.tensor([[sign * MOST]])).item() == sign * MOST
    with pytest.raises(LatentbenchError, match=r"65536 cannot.*float16.*65504\.\n.*dtype=float32"):
        kept(tmp_path / "not", torch.tensor([[sign * 65_536.0]]))
    assert not [*(tmp_path / "not").rglob("0*")]


def config(**changes):
    return RunConfig(
        encoder=ComponentConfig(name="latents"),
        corpus=ComponentConfig(name="world:ar1", speakers=4, utterances=2, dim=4),
        predictor=ComponentConfig(name="linear"),
        utterances={"min_seconds": 0},
        rollout={"utterances": 1},
        controls=(),
        task={"horizons": (1,)},
        device="cpu",
        **changes,
    )


@pytest.mark.parametrize("factored", [False, True])
def test_a_run_keeps_half_and_says_so(tmp_path, factored):
    given = {"factorization": ComponentConfig(name="pca", dim=2)} if factored else {}
    results = {}
    for name, latents in (("whole", LatentsConfig()), ("half", HALF)):
        asked = config(latents=latents, **given)
        workspace = Workspace(tmp_path / "cache")
        results[name] = run_experiment(asked, tmp_path / name, workspace, load_registry())
    stamps = [set(one.stamps) for one in results.values()]
    assert stamps[1] - stamps[0] == {"latents kept as float16"}
    stores = [json.loads(f.read_text()) for f in (tmp_path / "cache").rglob("store.json")]
    assert [one.get("dtype") for one in stores].count("float16") == len(stores) / 2
    gains = [
        next(f.value for f in one.horizons[0].figures if (f.split, f.name) == ("eval", "dnll"))
        for one in results.values()
    ]
    np.testing.assert_allclose(*gains, atol=0.01)


def test_a_run_that_keeps_all_is_the_run_it_was_before_the_setting():
    assert "latents" not in config().model_dump(mode="json")
    assert config().digest() != config(latents=HALF).digest()
    assert RunConfig(**config(latents=HALF).model_dump(mode="json")).latents == HALF
