"""A predictor that gives samples and no density runs, and has a dash for what rests on one."""

import csv
import json

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from latentbench.cli import main

SMALL = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1", "--device", "cpu"),
    *("--set", "corpus.utterances=1", "--set", "corpus.frames=40", "--set", "corpus.dim=3"),
    *("--set", "utterances.min_seconds=0", "--set", "corpus.speakers=6"),
    *("--set", "split.eval_fraction=0.5", "--set", "task.slices=[all]", "--steps", "2"),
    *("--set", "evaluation.metrics=[nll, dnll, direction_cos, crps]"),
)
SAMPLES = "{name: neural, head: energy, width: 8, head_width: 8, head_layers: 1}"
REASON = "the predictor gives samples and no log-density"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("samples")


def invoke(place, *words, code=0):
    cache = ("--cache", str(place / "cache"))
    found = CliRunner().invoke(main, [*map(str, words), *cache], env={"COLUMNS": "120"})
    assert found.exit_code == code, found.output
    return " ".join(found.output.split())


@pytest.fixture(scope="module")
def shown(place):
    return invoke(place, *SMALL, "--set", f"predictor={SAMPLES}", "--out", place / "run")


def test_scores_of_samples_and_means_are_there_and_likelihoods_are_a_dash(place, shown):
    result = json.loads((place / "run/result.json").read_text("utf-8"))
    (horizon,) = result["horizons"]
    found = {one["name"]: one for one in horizon["figures"] if one["split"] == "eval"}
    there = {name for name, one in found.items() if one["n"]}
    assert there == {"direction_cos", "crps", "nll_baseline"}
    assert {found[name]["interval_note"] for name in found.keys() - there} == {REASON}
    absent = "nll, dnll, dnll_capacity, dnll_context, x_gain"
    assert f"eval: no {absent}: {REASON}" in shown
    assert f"rollout: by samples and without a gap: {REASON}" in shown


def test_no_column_of_the_model_s_likelihood_is_kept(place, shown):  # noqa: ARG001 - of the run
    names = pq.read_schema(place / "run/frames.parquet").names
    assert "nll_baseline" in names
    assert not {"nll", "nll_unconditional", "nll_x"} & set(names)
    rolled = pq.read_table(place / "run/rollout.parquet")
    assert len(rolled)
    assert not {"nll_teacher", "nll_rollout", "nll_baseline"} & set(rolled.column_names)


def test_a_finished_run_is_not_computed_again(place, shown):
    again = invoke(place, *SMALL, "--set", f"predictor={SAMPLES}", "--out", place / "run")
    assert "is finished; nothing is computed again" in again
    assert REASON in shown


def test_a_baseline_without_a_density_is_refused_before_anything_is_trained(place):
    baseline = ("--set", f"baseline={SAMPLES}", "--out", place / "never")
    text = invoke(place, *SMALL, "--predictor", "linear", *baseline, code=2)
    assert "The baseline 'neural' gives samples and no log-density." in text
    assert not (place / "never").exists()


def test_its_rollout_has_states_and_says_why_there_is_no_gap(place, shown):  # noqa: ARG001
    text = invoke(place, "rollout", place / "run", "--json", "--target", "delta")
    found = json.loads(text[text.index("{") :])
    assert f"no NLL and no gap: {REASON}" in found["notes"]
    (curve,) = found["curves"]
    points = [one for one in curve["points"] if one["n"]]
    assert points
    assert {one["gap_median"] for one in points} == {"NaN"}
    assert all(one["state_error"] > 0 and one["variance_ratio"] > 0 for one in points)
    assert "no NLL and no gap" in invoke(place, "rollout", place / "run")


def test_a_run_tells_what_its_rollout_by_samples_tells(place, shown):
    text = invoke(place, "rollout", place / "run", "--json", "--mode", "sample")
    curve = json.loads(text[text.index("{") :])["curves"][0]
    (horizon,) = json.loads((place / "run/result.json").read_text("utf-8"))["horizons"]
    told, frame = horizon["rollout"], horizon["milliseconds"] / horizon["k"]
    assert (told["mode"], told["utterances"]) == ("sample", curve["utterances"])
    assert told["stable_depth"] * frame == pytest.approx(curve["stable_milliseconds"])
    assert told["dead_at"] == curve["dead_at"]
    assert "On its own frames, by samples: at" in shown


def test_what_there_is_no_number_of_is_a_dash_and_its_reason(place, shown):  # noqa: ARG001
    in_full = (*SMALL, "--set", f"predictor={SAMPLES}", "--full", "--out", place / "run")
    again = ("rollout", place / "run")
    for words in (in_full, again, (*again, "--inject", "published")):
        text = invoke(place, *words)
        assert "nan" not in text.split()
        assert REASON in text
    with (place / "run/figures.csv").open(encoding="utf-8") as file:
        assert {row["n"] for row in csv.DictReader(file) if row["value"] == "nan"} == {"0"}


def test_explaining_it_says_why_there_is_nothing_to_explain(place, shown):  # noqa: ARG001
    text = invoke(place, "explain", place / "run", code=2)
    assert f"The run kept no 'nll' per frame: {REASON}." in text
