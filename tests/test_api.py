"""The front door: names that are there to stay, settings, results and what is refused."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import latentbench as lb
from latentbench.api import configure, default_folder, plan_comparison
from latentbench.plugins import load_registry

NAMES = [
    "Answer",
    "Comparison",
    "Corpus",
    "Encoder",
    "Factorization",
    "Figures",
    "LatentbenchError",
    "MeanMetric",
    "Metric",
    "Prediction",
    "Predictor",
    "Result",
    "TaskFrames",
    "Training",
    "Transform",
    "UsageError",
    "Utterance",
    "__version__",
    "calibrate",
    "card",
    "compare",
    "components",
    "encode",
    "factorize",
    "leaderboard",
    "metric",
    "plan",
    "publish",
    "read",
    "report",
    "reproduce",
    "run",
    "runs",
    "train",
    "watch",
]


def test_the_names_are_those_that_were_promised():
    assert sorted(lb.__all__) == NAMES
    assert set(NAMES) <= set(dir(lb))
    for name in NAMES:
        assert getattr(lb, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        lb.rum  # noqa: B018


def test_no_submodule_takes_the_place_of_a_name():
    """Python sets a submodule that is imported as an attribute of its package."""
    assert [name for name in NAMES if find_spec(f"latentbench.{name}") is not None] == []


def test_editors_see_the_names_that_are_there():
    tree = ast.parse(Path(lb.__file__).read_text("utf-8"))
    [seen] = [one for one in tree.body if isinstance(one, ast.If)]
    imported = [name.name for one in seen.body for name in one.names]
    assert sorted([*imported, "__version__"]) == NAMES


def test_importing_it_and_reading_a_wrong_folder_load_no_torch():
    code = (
        "import sys, latentbench as lb\n"
        "assert not {'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "lb.components('encoder')\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "try: lb.read('nowhere')\n"
        "except lb.UsageError as error: assert 'holds no finished run' in error.message\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ARRAYS = {
    f"u{number}": np.random.default_rng(number).normal(size=(50, 3)).astype(np.float32)
    for number in range(8)
}
SPEAKERS = {name: f"s{int(name[1:]) // 2}" for name in ARRAYS}
HELD = {"latents": ARRAYS, "frame_rate": 12.5, "speakers": SPEAKERS}


@pytest.fixture
def place(tmp_path):
    return {"cache": tmp_path / "cache", "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of latents in memory, and where its latents are."""
    folder = tmp_path_factory.mktemp("api")
    place = {"cache": folder / "cache", "progress": False, "device": "cpu"}
    asked = {"predictor": "linear", "horizons": [1, 2], "controls": []}
    return lb.run(**HELD, **place, **asked, out=folder / "run")


def test_a_result_is_what_its_folder_holds(finished):
    record = json.loads((finished.folder / "result.json").read_text())
    assert json.loads(finished.to_json()) == record
    assert finished.to_csv() == (finished.folder / "figures.csv").read_text()
    assert finished.config.task.horizons == (1, 2)
    figure = finished.figures.where(k=1, split="eval", slice="all", figure="nll").rows[0]
    scores = finished.frames.to_table(columns=["horizon", "split", "nll"]).to_pandas()
    here = scores[(scores.horizon == 1) & (scores.split == "eval")]
    assert figure.value == pytest.approx(here.nll.mean(), rel=1e-12)
    assert figure.n == len(here)


def test_a_result_is_shown_as_text_and_in_a_notebook(finished):
    assert "latents on arrays, linear against marginal" in str(finished)
    html = finished._repr_html_()
    assert html.startswith("<pre")
    assert "latents on arrays, linear against marginal" in html
    assert repr(finished).endswith("run: linear on latents, arrays, k = 1, k = 2>")


def test_a_result_is_written_for_papers(finished):
    assert r"\begin{tabular}" in finished.to_latex(["n", "nll"], label="tab:one")
    assert "| n | NLL (nats/frame) |" in finished.to_markdown(["n", "nll"])
    with pytest.raises(lb.UsageError, match="no column 'nl'"):
        finished.to_latex(["nl"])


def test_questions_are_answered_where_the_latents_are(finished):
    again = lb.read(finished.folder, cache=finished.folder.parent / "cache", progress=False)
    curve = again.rollout(utterances=1, horizons=(2,), depths=(1, 2)).record.curves[0]
    assert [point.depth for point in curve.points] == [1, 2]
    assert again.explain(split="eval", top=3).record.split == "eval"
    assert not again.verify().record.reproduced
    with pytest.raises(lb.UsageError, match="are not in the cache"):
        lb.read(finished.folder, cache=finished.folder / "none", progress=False).explain()


def test_tensors_and_arrays_are_the_same_latents(finished, place, tmp_path):
    tensors = {name: torch.from_numpy(array).double() for name, array in ARRAYS.items()}
    asked = {"predictor": "linear", "horizons": [1, 2], "controls": [], **place}
    run = lb.run(**{**HELD, "latents": tensors}, **asked, out=tmp_path / "run")
    assert run.config.corpus.inline == finished.config.corpus.inline
    mine, theirs = (one.figures.to_pandas().drop(columns="run") for one in (run, finished))
    assert mine.equals(theirs)


def test_other_numbers_are_another_run(place):
    louder = {name: 2 * array for name, array in ARRAYS.items()}
    one, other = (configure(**{**HELD, "latents": each}, **place) for each in (ARRAYS, louder))
    assert default_folder(one) != default_folder(other)


def test_latents_come_back_as_they_were(place):
    back = lb.encode(**HELD, **place).arrays()
    assert back.keys() == ARRAYS.keys()
    for name, array in back.items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_latents_of_a_folder(place, tmp_path):
    for name, array in ARRAYS.items():
        (tmp_path / "files" / SPEAKERS[name]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "files" / SPEAKERS[name] / f"{name}.npy", array)
    asked = {"latents": tmp_path / "files", "frame_rate": 12.5, "speakers": "{speaker}/*.npy"}
    back = lb.encode(**asked, **place).arrays()
    assert sorted(map(len, back.values())) == [50] * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latents": ARRAYS, "speakers": SPEAKERS}, r"need a `frame_rate`.*\n.*frame_rate=12.5"),
        ({"latents": ARRAYS, "frame_rate": 12.5}, "8 of 8 utterances have no speaker"),
        ({**HELD, "frame_rate": 0.0}, "no number of frames per second"),
        ({**HELD, "encoder": "logmel"}, "take the place of `encoder`"),
        ({**HELD, "predictr": "mdn"}, r"'predictr' is no option of a run.\nDid.*'predictor'"),
        ({**HELD, "seed": 1, "seeds": [1, 2]}, "--seed or --seeds, not both"),
        ({**HELD, "predictor": 5}, "'predictor' cannot be 5: expected a name"),
        ({**HELD, "preset": "dmo"}, r"no preset called 'dmo'.\nDid you mean 'demo'"),
        ({**HELD, "set": ["training.steps"]}, "is no assignment"),
        ({**HELD, "training": {"stps": 1}}, r"'training.stps'.*\nDid you mean 'steps'"),
    ],
)
def test_what_cannot_be_asked_for_is_told(place, settings, message):
    with pytest.raises(lb.UsageError, match=message):
        lb.run(**settings, **place)


def test_settings_layers_and_assignments_win_in_turn(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training: {steps: 1, batch_size: 2, clip_norm: 3.0}")
    found = configure(config=file, training={"steps": 4, "batch_size": 5}, set=["training.steps=6"])
    assert (found.training.steps, found.training.batch_size) == (6, 5)
    assert found.training.clip_norm == 3.0
    assert configure(config=found, steps=7).training.batch_size == 5
    assert configure(config={"seeds": [3]}).seeds == (3,)
    assert configure(**{"task.target": "x", "slices": ["sex=F"]}).task.slices == ("all", "sex=F")


def test_one_alone_is_a_list_of_one():
    one = {"horizons": 3, "slices": "sex=F", "seeds": 7, "metrics": "nll", "controls": "x_target"}
    assert configure(**one, transforms="pca", set="training.steps=4") == configure(
        **{name: [value] for name, value in one.items()},
        transforms=["pca"],
        set=["training.steps=4"],
    )
    with pytest.raises(lb.UsageError, match="only 'runs/x' is given"):
        lb.compare("runs/x")
    with pytest.raises(lb.UsageError, match="this is one: encoder 'logmel'"):
        lb.compare(encoders="logmel", corpus="speech-demo")


@pytest.mark.parametrize("verb", [lb.compare, lb.report, lb.leaderboard])
def test_no_runs_are_not_taken_for_some(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lb.UsageError, match=r"No (run|source) is given"):
        verb([])
    assert not list(tmp_path.iterdir())


def test_runs_and_results_stand_side_by_side(finished, place, tmp_path):
    asked = {"predictor": "marginal-full", "horizons": [1, 2], "controls": []}
    other = lb.run(**HELD, **place, **asked, out=tmp_path / "other")
    both = lb.compare([finished, tmp_path / "other"])
    assert {row.predictor for row in both.figures.rows} == {"linear", "marginal-full"}
    for one in (finished, other):
        mine = both.figures.where(run=one.folder.name, figure="nll", k=1, split="eval").rows
        assert [row.value for row in mine] == [
            row.value for row in one.figures.where(figure="nll", k=1, split="eval").rows
        ]
    assert "2 runs side by side" in str(both)
    assert both._repr_html_().startswith("<pre")


def test_components_are_compared_by_label(place, tmp_path):
    asked = {"horizons": [1, 2], "controls": [], "match": "frames"}
    predictors = {"narrow": {"name": "mdn", "width": 4}, "wide": {"name": "mdn", "width": 8}}
    plans = plan_comparison(predictors=predictors, steps=2, **asked, **HELD, **place)
    assert plans["wide"].record.parameters > plans["narrow"].record.parameters
    found = lb.compare(
        predictors=predictors, steps=2, out=tmp_path / "runs", **asked, **HELD, **place
    )
    assert [run.label for run in found.record.runs] == ["narrow", "wide"]
    widths = [lb.read(run.folder).config.predictor.options["width"] for run in found.record.runs]
    assert widths == [4, 8]


def test_a_plan_computes_nothing(place):
    plan = lb.plan(**HELD, **place, horizons=[1], steps=5)
    assert plan.record.frames == {1: {"train": 6 * (50 - 11), "eval": 2 * (50 - 11)}}
    assert "5 steps each" in str(plan)
    assert json.loads(plan.to_json())["steps"] == 5


def test_components_are_those_of_the_registry():
    found = lb.components()
    assert {one.name for one in found if one.spec.kind == "engine"} >= {"local", "processes"}
    assert lb.components("metric") == load_registry().of_kind("metric")
