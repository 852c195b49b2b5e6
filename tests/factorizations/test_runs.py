"""Runs of a factorisation: what is stored, what is shared, and that the truth is found."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import latentbench as lb
from latentbench.config import RunConfig, resolve
from latentbench.errors import LatentbenchError
from latentbench.factorizations.factorization import Unfactored
from latentbench.factorizations.projections import Linear
from latentbench.factorizations.stored import factored_store
from latentbench.latents.manifest import open_latents
from latentbench.latents.store import list_stores, remove_store
from latentbench.plugins import Component, Provider, load_registry
from latentbench.progress import SILENT
from latentbench.specs import FactorizationSpec
from latentbench.tensors import save_tensors

SMALL = {"name": "world:factored", "speakers": 20, "frames": 120, "utterances": 3}


@pytest.fixture
def run(tmp_path):
    def make(folder="run", **settings):
        asked = {
            "preset": "lb1",
            "encoder": "latents",
            "corpus": SMALL,
            "predictor": "linear",
            "factorization": {"name": "linear", "dim": 4},
            "seeds": [0],
            "task": {"horizons_ms": [80.0, 160.0], "context_ms": 80.0},
            "progress": False,
        }
        return lb.run(out=tmp_path / folder, cache=tmp_path / "cache", **(asked | settings))

    return make


def gain(result, k):
    horizon = next(one for one in result.record.horizons if one.k == k)
    return next(one for one in horizon.figures if (one.split, one.name) == ("eval", "gain"))


def test_the_gain_of_the_state_is_that_of_the_world(run):
    result = run()
    for k in (1, 2):
        found = gain(result, k)
        truth = -0.5 * 4 * np.log(1 - 0.9 ** (2 * k))
        assert found.low < truth < found.high
        assert found.n > 1000


def test_the_state_is_stored_once_beside_the_latents(run, tmp_path):
    first, second = run("one"), run("two")
    stores = {one.encoder: one for one in list_stores(tmp_path / "cache")}
    assert set(stores) == {"latents", "latents by linear"}
    assert stores["latents"].utterances == stores["latents by linear"].utterances == 60
    key = json.loads((stores["latents by linear"].path / "store.json").read_text())
    assert key["factorization"]["base"] == stores["latents"].path.name
    assert gain(first, 1).value == gain(second, 1).value
    run("three", factorization={"name": "linear", "dim": 3})
    assert len(list_stores(tmp_path / "cache")) == 3


@dataclass(frozen=True)
class Doubling:
    times: int = 1


class Times(Unfactored):
    """It learns nothing of its option: that shows in the states alone."""

    def __init__(self, options: Doubling) -> None:
        super().__init__(options)

    def encode(self, frames):
        return frames * self.options.times


class More(Times):
    def encode(self, frames):
        return frames * self.options.times + 1


class Broken(Unfactored):
    """Breaks its contract as its option says."""

    def encode(self, frames):
        return (frames[1:], frames.repeat(1, 2), frames * np.nan)[self.options.times]


@pytest.fixture
def stored(tmp_path):
    """The states that a class gives of two utterances by one fitted file."""
    rows = {f"{n}": np.arange(40, dtype=np.float32).reshape(20, 2) + n for n in range(2)}
    base = lb.encode(
        latents=rows, frame_rate=10, speakers={one: one for one in rows},
        cache=tmp_path, progress=False, split={"eval_fraction": 0.5},
        set=["utterances.min_seconds=0"],
    )  # fmt: skip
    file, known = tmp_path / "fitted.safetensors", load_registry()
    save_tensors(file, {"dim": torch.tensor(2)})

    def make(made, times):
        spec = FactorizationSpec(name="times", summary="", factory=made, options=Doubling)
        whose = Component(spec, Provider("latentbench-times", "1.0", "times"))
        registry = known.beside([whose])
        config = resolve({"factorization": {"name": "times", "times": times}}, registry)
        store = factored_store(base.store, base.rows, config, registry, file=file, progress=SILENT)
        return open_latents(store, base.rows)[0].utterance(0)

    return make


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (0, r"\[19, 2\] where \[20, 2\]"),
        (1, r"\[20, 4\] where"),
        (2, "20 frames that are not finite"),
    ],
)
def test_states_that_break_the_contract_are_not_kept(stored, tmp_path, how, told):
    with pytest.raises(LatentbenchError, match=f"Broken gives states .*{told}.*utterance '0'"):
        stored(Broken, how)
    assert [one.utterances for one in list_stores(tmp_path) if "by times" in one.encoder] in (
        [],
        [0],
    )


def test_what_shows_in_the_states_alone_is_in_the_key_of_their_store(stored, tmp_path):
    """An option, or the code; an editable plugin keeps its name and its fitted file."""
    made = ((Times, 1), (Times, 2), (More, 2), (Times, 1))
    assert [stored(*one)[0].tolist() for one in made] == [[0, 1], [0, 2], [1, 3], [0, 1]]
    assert len(list_stores(tmp_path)) == 4


def test_a_store_that_was_removed_is_made_again(run, tmp_path):
    first = run()
    (derived,) = [one for one in list_stores(tmp_path / "cache") if "by" in one.encoder]
    rows = {file.name: file.read_bytes() for file in derived.path.glob("shards/*.safetensors")}
    remove_store(tmp_path / "cache", derived.key)
    first._opened("cpu")
    assert {f.name: f.read_bytes() for f in derived.path.glob("shards/*.safetensors")} == rows


def test_the_stored_states_are_those_of_the_fitted_file(run, tmp_path):
    from latentbench.config import RunConfig
    from latentbench.factorizations.stored import restore_factorization
    from latentbench.plugins import load_registry

    result = run(transforms=[])
    config = RunConfig.model_validate(result.record.config)
    file = tmp_path / "run" / "factorization-linear.safetensors"
    made = restore_factorization(config, load_registry(), file)
    opened = result._opened("cpu")
    raw = lb.encode(encoder="latents", corpus=SMALL, cache=tmp_path / "cache", progress=False)
    for index, one in enumerate(opened.latents.utterances[:5]):
        wanted = made.encode(torch.from_numpy(raw.arrays()[one.id]))
        torch.testing.assert_close(opened.latents.utterance(index), wanted, atol=1e-6, rtol=0)


def test_a_fitted_file_that_was_changed_is_fitted_again(run, tmp_path):
    run()
    file = tmp_path / "run" / "factorization-linear.safetensors"
    before = file.read_bytes()
    file.write_bytes(before[:-1] + b"x")
    run()
    assert file.read_bytes() == before
    assert len(list_stores(tmp_path / "cache")) == 2


def test_without_a_factorisation_the_configuration_is_what_it_was():
    config = RunConfig()
    assert "factorization" not in config.model_dump(mode="json")
    assert "factorization" not in config.to_yaml()
    other = config.model_copy(
        update={"factorization": replace_name(config.factorization, "linear")}
    )
    assert other.digest() != config.digest()
    assert other.model_dump(mode="json")["factorization"] == {"name": "linear"}


def replace_name(component, name):
    return component.model_copy(update={"name": name})


def test_factorisations_are_compared(tmp_path):
    found = lb.compare(
        factorizations={"raw": "none", "dyn": {"name": "linear", "dim": 4}},
        encoders=["latents"],
        corpora=[SMALL],
        predictors=["linear"],
        preset="lb1",
        seeds=[0],
        task={"horizons_ms": [80.0], "context_ms": 80.0},
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        progress=False,
    )
    assert [one.label for one in found.record.runs] == ["raw", "dyn"]
    raw, dyn = (one.result for one in found.record.horizons)
    assert (raw.dim, dyn.dim) == (16, 4)
    assert "factorization" in {one.what for one in found.record.differences}
    # Nats of other latents are per dimension.
    assert next(one.unit for one in found.record.against if one.name == "gain") == "nats/dim"
    assert {one.name for one in (tmp_path / "out").iterdir()} == {
        "latents-linear-world-factored-raw",
        "latents-linear-world-factored-dyn",
    }


def test_a_comparison_fits_each_factorisation_once(tmp_path, monkeypatch):
    fitted, fit = [], Linear.fit
    monkeypatch.setattr(
        Linear, "fit", lambda one, *rest: (fitted.append(one.options.dim), fit(one, *rest))
    )
    asked = {
        "factorizations": [{"name": "linear", "dim": d, "label": f"of-{d}"} for d in (4, 3)],
        "encoders": ["latents"],
        "corpora": [SMALL, {**SMALL, "label": "other", "speakers": 24}],
        "predictors": ["linear", "marginal"],
        "preset": "lb1",
        "seeds": [0],
        "task": {"horizons_ms": [80.0], "context_ms": 80.0},
        "cache": tmp_path / "cache",
        "progress": False,
    }
    lb.compare(**asked, out=tmp_path / "out")
    assert sorted(fitted) == [3, 3, 4, 4]  # of each corpus
    files = [one.read_bytes() for one in tmp_path.glob("out/*/factorization-linear.safetensors")]
    assert len(files) == 8
    assert len(set(files)) == 2  # one a corpus: the basis is whole, whatever is kept of it
    # By another command they are fitted again: the code of a plugin may have changed.
    lb.compare(**{**asked, "predictors": ["persistence"]}, out=tmp_path / "out")
    assert len(fitted) == 8


def test_the_protocol_names_the_factorisation(run):
    assert "factorization.name=linear" in run().record.protocol
