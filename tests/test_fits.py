"""A model is fitted once by the runs of a comparison that need the very same, and is the same."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from latentbench.api import compare, plan_comparison
from latentbench.config import read_layers, resolve
from latentbench.experiment import run_experiment
from latentbench.pictures.report import provenance_of
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.reports.run import run_report
from latentbench.reports.tables import Line
from latentbench.results.folder import read_record, read_result
from latentbench.tensors import load_tensors, save_tensors
from latentbench.workspace import Workspace

SMALL = (
    "encoder=latents",
    "corpus={name: world:ar1, speakers: 8, utterances: 1, dim: 3, frames: 40}",
    "utterances.min_seconds=0",
    "split.eval_fraction=0.5",
    "split.validation_fraction=0.5",
    "task.horizons=[1, 4]",
    "training.steps=4",
    "training.evaluate_every=2",
    "device=cpu",
)
OTHERWISE = ("evaluation.metrics=[energy_skill, direction_cos]", "rollout.utterances=2")
ENERGY = "{name: neural, head: energy, width: 8, head_width: 8, head_layers: 1}"
PREDICTORS = {
    "mdn": "{name: mdn, width: 8}",
    "noisy": "{name: mdn-robust, width: 8, context_noise: 0.1}",
    "samples": ENERGY,
    "transformer": "{name: neural, backbone: transformer, width: 8, attention_heads: 1}",
    "linear": "{name: linear}",
    "lookup": "{name: lookup, keys: 3}",
    "engram": "{name: engram, width: 8, codes: 4}",
}
NETWORKS = 4
FIRST = f"predictor={PREDICTORS['mdn']}"


class Titles(SilentProgress):
    """Remembers the title of every task."""

    def task(self, title, total, unit, done=0.0):
        self.said.append(title)
        return super().task(title, total, unit, done)

    @property
    def trained(self):
        return [one for one in self.said if one.startswith("train k=")]


def configure(*assignments):
    return resolve(read_layers(None, None, (*SMALL, *assignments)), load_registry())


def run(place, name, *assignments, beside=()):
    """Make a run; what was told of it."""
    told = Titles()
    folders = tuple(place / one for one in beside)
    workspace = Workspace(place / "cache", told, beside=folders)
    run_experiment(configure(*assignments), place / name, workspace, load_registry())
    return told


def numbers(folder):
    """All that a run folder tells, but for times: a text, in which every number has its digits."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    del result["provenance"], result["config"]["engine"]
    for horizon in result["horizons"]:
        del horizon["seconds"], horizon["taken_over"]
    tables = [pq.read_table(file).to_pydict() for file in sorted(folder.glob("*.parquet"))]
    weights = [load_file(file) for file in sorted(folder.glob("model-*"))]
    exact = [{name: each[name].numpy().tobytes() for name in sorted(each)} for each in weights]
    return str((result, tables, exact))


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
def test_a_run_of_shared_models_is_to_the_bit_that_of_its_own(tmp_path, predictor):
    given = f"predictor={predictor}"
    run(tmp_path, "first", given)
    told = run(tmp_path, "shared", given, *OTHERWISE, beside=["first", "shared"])
    alone = run(tmp_path, "alone", given, *OTHERWISE)
    assert not told.trained
    assert bool(alone.trained) == (predictor.count("name: l") == 0)
    assert numbers(tmp_path / "shared") == numbers(tmp_path / "alone")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Of k = 1 and 4: a network each, one without a context for both, and one of x at k = 4."""
    place = tmp_path_factory.mktemp("first")
    assert len(run(place, "first", FIRST).trained) == NETWORKS
    return place


@pytest.fixture
def place(first, tmp_path):
    return shutil.copytree(first, tmp_path / "place")


def test_a_run_says_whose_networks_it_took_over(place):
    run(place, "second", FIRST, *OTHERWISE, beside=["first"])
    result = read_result(place / "second")
    told = "predictor, unconditional, x target of first"
    roles = {"predictor", "unconditional", "baseline", "x_baseline"}
    assert [horizon.taken_over for horizon in result.horizons] == [
        dict.fromkeys(roles, ("first",)),
        # The one without a context is that of k = 1.
        dict.fromkeys(roles - {"unconditional"} | {"x_target"}, ("first",)),
    ]
    lines = [one.text for one in run_report(result) if isinstance(one, Line)]
    assert f"taken over, so in no time: {told}" in lines
    assert dict(provenance_of(result))["taken over"].startswith(told)
    assert not any(one.taken_over for one in read_result(place / "first").horizons)
    assert "taken over" not in dict(provenance_of(read_result(place / "first")))


@pytest.mark.parametrize(
    ("assignments", "trained"),
    [
        (("rollout.seed=7",), 0),
        (("task.slices=[all]",), 0),
        (("evaluation.max_frames=9", "evaluation.order=round_robin"), 0),
        (("controls=[]",), 0),
        # Other models: all, or those of one horizon, or only those with a context.
        (("predictor.width=9",), NETWORKS),
        (("predictor.components=3",), NETWORKS),
        (("training.learning_rate=0.01",), NETWORKS),
        (("training.precision=bf16",), NETWORKS),
        (("seeds=[43]",), NETWORKS),
        (("task.context_frames=7",), NETWORKS),
        (("task.context_frames=7", "task.first_frame=11"), NETWORKS),
        (("task.step_frames=2",), NETWORKS),
        (("split.seed=1",), NETWORKS),
        (("utterances.limit=7",), NETWORKS),
        (("latents.dtype=float16",), NETWORKS),
        (("transforms=[standardize]",), NETWORKS),
        (("factorization={name: pca, dim: 2}",), NETWORKS),
        (("corpus.seed=5",), NETWORKS),
        (("task.horizons=[1, 2]",), 2),
        (("seeds=[42, 43]",), NETWORKS),
        (("baseline.floor=0.5",), 0),
        # A horizon is fitted on x itself where the target is x, as a control was for the change.
        (("task.target=x",), 2),
    ],
    ids=str,
)
def test_only_what_agrees_in_all_that_decides_it_is_shared(place, assignments, trained):
    found = run(place, "second", FIRST, *assignments, beside=["first"])
    assert len(found.trained) == trained


@pytest.mark.parametrize(
    "changed",
    [
        "training.steps=5",
        "training.rollout={steps: 2}",
        "training.rollout={noise: 0.5}",
    ],
)
def test_the_control_is_shared_where_it_is_trained_alike(tmp_path, changed):
    """Until it converges, whatever the steps of the model, and never on frames of its own."""
    best = ("training.select=best", "training.patience=1", "controls=[unconditional]")
    given = (FIRST, *best, "task.frame_set=common")
    assert len(run(tmp_path, "first", *given).trained) == 2 + 1
    assert len(run(tmp_path, "second", *given, changed, beside=["first"]).trained) == 2
    run(tmp_path, "alone", *given, changed)
    assert numbers(tmp_path / "second") == numbers(tmp_path / "alone")


@pytest.mark.parametrize(
    ("head", "given", "changed"),
    [
        ("lsd", "temperature: 1.0", "temperature: 0.5"),
        ("diffusion", "steps: 3", "steps: 2"),
        ("flow-matching", "steps: 3, probes: 4", "steps: 2, probes: 2"),
        ("latent", "draws: 2", "draws: 3"),
    ],
)
def test_how_a_trained_head_samples_or_is_scored_trains_nothing(tmp_path, head, given, changed):
    size = f"head: {head}, width: 8, head_width: 8, head_layers: 1"
    one, other = (f"predictor={{name: neural, {size}, {more}}}" for more in (given, changed))
    run(tmp_path, "first", one)
    assert not run(tmp_path, "second", other, beside=["first"]).trained
    assert run(tmp_path, "alone", other).trained
    assert numbers(tmp_path / "second") == numbers(tmp_path / "alone")
    assert numbers(tmp_path / "second") != numbers(tmp_path / "first")


def test_a_model_that_samples_in_its_training_is_trained_for_each_temperature(tmp_path):
    """But for the control without a context, which is not rolled out."""
    lsd = "{name: neural, head: lsd, width: 8, head_width: 8, head_layers: 1, temperature: %s}"
    rolled = ("training.rollout={steps: 2, mode: sample}", "controls=[unconditional]")
    for name, temperature, trained in (("first", 1.0, 3), ("second", 0.5, 2)):
        told = run(tmp_path, name, f"predictor={lsd % temperature}", *rolled, beside=["first"])
        assert len(told.trained) == trained


def test_another_baseline_is_fitted(place):
    run(place, "second", FIRST, "baseline.floor=0.5", beside=["first"])
    one, two = (
        read_record(place / name / "cells" / "k1-seed42").fits for name in ("first", "second")
    )
    assert {role for role in one if one[role] == two[role]} == {"predictor", "unconditional"}


def spoiled(file):
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("damaging", [spoiled, lambda file: file.unlink()], ids=["short", "gone"])
def test_nothing_is_taken_from_a_damaged_run(place, damaging):
    for cell in (place / "first" / "cells").iterdir():
        damaging(cell / "model.safetensors")
    assert len(run(place, "second", FIRST, *OTHERWISE, beside=["first"]).trained) == NETWORKS
    run(place, "alone", FIRST, *OTHERWISE)
    assert numbers(place / "second") == numbers(place / "alone")


def test_a_run_that_was_interrupted_gives_what_its_finished_cells_hold(place):
    """As after a kill in its second cell: k = 4, its network and that of x, is fitted again."""
    (place / "first" / "result.json").unlink()
    (place / "first" / "cells" / "k4-seed42" / "cell.json").unlink()
    assert len(run(place, "second", FIRST, *OTHERWISE, beside=["first"]).trained) == 2
    run(place, "alone", FIRST, *OTHERWISE)
    assert numbers(place / "second") == numbers(place / "alone")


def test_what_is_taken_is_what_the_other_run_holds(place):
    """Weights that were changed and sealed again: were they fitted, they would not be there."""
    for cell in (place / "first" / "cells").iterdir():
        models = load_tensors(cell / "model.safetensors", "")
        save_tensors(cell / "model.safetensors", {name: one + 1 for name, one in models.items()})
    run(place, "second", FIRST, *OTHERWISE, beside=["first"])
    for cell in (place / "first" / "cells").iterdir():
        theirs = load_tensors(cell / "model.safetensors", "")
        ours = load_tensors(place / "second" / "cells" / cell.name / "model.safetensors", "")
        assert all(bool((theirs[name] == ours[name]).all()) for name in theirs)


def test_processes_side_by_side_take_what_there_is(place):
    engine = ("engine.name=processes", "engine.workers=2", "engine.threads=1")
    run(place, "second", FIRST, *OTHERWISE, *engine, beside=["first"])
    run(place, "alone", FIRST, *OTHERWISE)
    assert numbers(place / "second") == numbers(place / "alone")
    first = read_record(place / "first" / "cells" / "k4-seed42")
    assert read_record(place / "second" / "cells" / "k4-seed42").fits == first.fits


COMPARED = {
    "predictors": [{"name": "mdn", "width": 8}],
    "config": read_layers(None, None, SMALL) | {"predictor": {"name": "mdn"}},
    "preset": "phase1",
    "match": "frames",
    "horizons": (1, 2),
}


@pytest.mark.parametrize(
    ("vary", "counts"),
    [
        ({"rollout.seed": [1, 2, 3]}, [4, 0, 0]),
        ({"task.slices": [["all"], ["all", "high_energy"]]}, [4, 0]),
        ({"predictor.width": [8, 9]}, [4, 4]),
        ({"predictor.width": [8, 9], "rollout.seed": [1, 2]}, [4, 0, 4, 0]),
        ({"task.context_frames": [2, 3]}, [4, 4]),
        # The same network at k = 1, and the same without a context from the same frame on.
        ({"task.horizons": [[1, 2], [1, 4]]}, [4, 2]),
    ],
    ids=str,
)
def test_a_comparison_trains_what_its_plan_counts(tmp_path, vary, counts):
    """A network each at k = 1 and 2, one without a context for both, and one of x at k = 2."""
    asked = COMPARED | {"vary": vary, "cache": tmp_path / "cache"}
    plans = plan_comparison(**asked)
    assert [one.record.networks for one in plans.values()] == counts
    progress = Titles()
    compare(**asked, out=tmp_path / "out", progress=progress)
    assert len(progress.trained) == sum(counts)


PLUGIN = """
from latentbench.hookspecs import hookimpl
from latentbench.predictors.marginal import Marginal
from latentbench.predictors.plugin import MarginalOptions
from latentbench.specs import PredictorSpec


@hookimpl
def latentbench_predictors():
    yield PredictorSpec(
        name="mine", summary="mine", factory=f"{__name__}:Mine", options=MarginalOptions
    )


class Mine(Marginal):
    def fit(self, train, training):
        super().fit(train, training)
        self.mean.add_(0)
"""


def two_runs(place, texts, *assignments):
    """The records of one cell of two runs side by side, made with a plugin of each text."""
    file, cells = place / "mine.py", []
    for name, text in zip(("first", "second"), texts, strict=True):
        file.write_text(text)
        registry = load_registry([file])
        config = resolve(read_layers(None, None, (*SMALL, *assignments)), registry)
        workspace = Workspace(place / "cache", beside=(place / "first",))
        run_experiment(config, place / name, workspace, registry)
        cells.append(read_record(place / name / "cells" / "k1-seed42"))
    return cells


@pytest.mark.parametrize("changed", [False, True])
def test_of_a_predictor_whose_code_was_changed_nothing_is_shared(tmp_path, changed):
    """Its plugin has the version that it had, and the run the same configuration."""
    texts = (PLUGIN, PLUGIN.replace("add_(0)", f"add_({int(changed)})"))
    one, two = (cell.fits for cell in two_runs(tmp_path, texts, "predictor=mine"))
    assert (one["predictor"] == two["predictor"]) is not changed
    assert one["baseline"] == two["baseline"]


TRANSFORM = """
import torch
from latentbench.hookspecs import hookimpl
from latentbench.latents.transform import Transform
from latentbench.specs import TransformSpec


@hookimpl
def latentbench_transforms():
    yield TransformSpec(name="times", summary="times", factory=f"{__name__}:Times")


class Times(Transform):
    def __init__(self, options):
        pass

    def fit(self, latents, train):
        pass

    def apply(self, latents):
        return latents.mapped(lambda rows: rows * 1.0, latents.dim)

    def state(self):
        return {"nothing": torch.zeros(1)}

    def restore(self, state):
        pass
"""


@pytest.mark.parametrize("changed", [False, True])
def test_of_a_transform_whose_code_was_changed_nothing_is_shared(tmp_path, changed):
    """What was fitted of it is the same, and what it makes of latents is not."""
    texts = (TRANSFORM, TRANSFORM.replace("* 1.0", "* 2.0" if changed else "* 1.0"))
    given = ("predictor=marginal", "transforms=[times]")
    one, two = (cell.fits for cell in two_runs(tmp_path, texts, *given))
    assert {role for role in one if one[role] != two[role]} == (set(one) if changed else set())


def test_a_model_that_does_not_take_its_own_weights_is_fitted_by_each_run(tmp_path):
    """As of a plugin whose buffers have sizes that only `fit` knows."""
    growing = PLUGIN.replace(
        "self.mean.add_(0)", "self.register_buffer('more', self.mean.repeat(2))"
    )
    one, two = two_runs(tmp_path, (growing, growing), "predictor=mine")
    assert one.status == two.status == "done"
    assert one.fits == two.fits


def test_nothing_is_taken_of_a_training_whose_losses_are_gone(place):
    for cell in (place / "first" / "cells").iterdir():
        (cell / "curves.parquet").unlink()
    assert len(run(place, "second", FIRST, *OTHERWISE, beside=["first"]).trained) == NETWORKS
    assert (place / "second" / "curves.parquet").exists()
