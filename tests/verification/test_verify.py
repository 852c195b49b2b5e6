"""The published run is found to be itself; every difference from it is named."""

import csv
import json
import math
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.config import read_layers, resolve
from latentbench.corpora.split import split_speakers
from latentbench.encoders.mimi import MimiEncoder
from latentbench.plugins import load_registry
from latentbench.results.schema import CorpusFacts, EncoderFacts, Provenance
from latentbench.verification.references import eval_speakers, reference_runs
from latentbench.verification.verify import place_of, verify_result

SHARED = Path(__file__).parents[3] / "shared" / "data" / "reference"
DIGEST = f"sha256:{MimiEncoder.weights_file.sha256}"


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture
def published(make_result, registry):
    """The published table as a run by the preset, with what a test wants otherwise."""

    def make(*assignments, weights=DIGEST, corpus=None, encoder="mimi", stamps=()):
        config = resolve(read_layers("phase1", None, assignments), registry).model_dump(mode="json")
        config["encoder"]["name"] = encoder
        facts = {
            "name": "librispeech train-clean-100",
            "identity": {"corpus": "librispeech", "subset": "train-clean-100"},
            "speakers": {
                "train": tuple(f"t{number}" for number in range(200)),
                "eval": tuple(eval_speakers()),
            },
            "utterances": {"train": 22_000, "eval": 5_500},
            "seconds": {"train": 288_000.0, "eval": 73_000.0},
        }
        return make_result(
            config=config,
            corpus=CorpusFacts(**(facts | (corpus or {}))),
            encoder=EncoderFacts(
                name=encoder, dim=512, frame_rate=12.5, hop=1920, sample_rate=24_000
            ),
            provenance=Provenance(
                latentbench="0",
                python="3",
                libraries={},
                platform="any",
                device="cpu",
                digests={"weights": weights},
            ),
            stamps=stamps,
        )

    return make


def differing(found):
    return {one.name for one in found.conditions if not one.matches}


def test_the_data_of_the_package_are_the_reference():
    if not SHARED.is_dir():
        pytest.skip("no reference data beside the checkout")
    data = resources.files("latentbench.verification") / "data"
    for name in ("phase1-reference.csv", "phase1-eval-speakers.txt"):
        first, rest = (data / name).read_text("utf-8").split("\n", 1)
        assert first.startswith("# Phase 1 of the original experiment: ")
        assert rest == (SHARED / name).read_text("utf-8")


def test_the_reference_runs_are_those_of_the_table():
    names = [(run.latents, run.name) for run in reference_runs()]
    assert names[0] == ("mimi", "published, 25000 steps")
    assert [latents for latents, _ in names].count("mimi") == 4
    assert {latents for latents, _ in names} == {"mimi", "encodec-24k", "mimi-pca32", "mimi-pca64"}
    first = reference_runs()[0].values
    assert first[1, "eval_dnll"] == -185.44
    assert first[4, "rollout_gap_nll"] == math.inf
    assert math.isnan(first[1, "rollout_gap_nll"])  # blank: a rollout that came to nan
    made = {run.name: (run.width, run.frame_set) for run in reference_runs()}
    assert made["published, 25000 steps"] == (1024, "phase1")
    assert made["second rerun, 15000 steps"] == (1024, "common")
    assert made["third rerun"] == (512, "phase1")
    pca = next(run for run in reference_runs() if run.latents == "mimi-pca32")
    assert (pca.width, [pca.first_frame(k) for k in (1, 2, 4, 8)]) == (512, [15] * 4)
    assert [reference_runs()[0].first_frame(k) for k in (1, 2, 4, 8)] == [11, 11, 11, 15]


def test_the_eval_speakers_are_51_of_the_split_rule():
    assert len(eval_speakers()) == 51
    assert all(one.isdecimal() for one in eval_speakers())
    ids = [str(number) for number in range(251)]
    assert len(split_speakers(ids, eval_fraction=0.2, seed=42).eval) == len(eval_speakers())


def test_the_published_run_reproduces_itself(published, registry):
    found = verify_result(published(), registry)
    assert not differing(found)
    assert found.comparable
    assert found.reproduced
    assert found.reference == "mimi"
    assert {one.place for one in found.cells if one.runs > 1 and one.value is not None} == {
        "inside"
    }
    assert "spread of 3 runs" in found.summary
    blank = [one for one in found.cells if one.value is None]
    assert {(one.horizon, one.column, one.place) for one in blank} == {
        (1, "rollout_gap_nll", "no reference"),
        (2, "rollout_gap_nll", "no reference"),
    }


def with_gap(result, value):
    horizon = result.horizons[0]
    rollout = horizon.rollout.model_copy(update={"mean_gap": value, "n": 900})
    changed = horizon.model_copy(update={"rollout": rollout})
    return result.model_copy(update={"horizons": (changed, *result.horizons[1:])})


@pytest.mark.parametrize(
    ("value", "place"), [(math.inf, "inside"), (math.nan, "inside"), (26.2, "outside")]
)
def test_a_blank_gap_of_the_reference_is_a_rollout_that_is_not_finite(
    published, registry, value, place
):
    """At k = 1 no run as wide came to a number: two are blank and one is infinite."""
    found = verify_result(with_gap(published(), value), registry)
    cell = next(one for one in found.cells if (one.horizon, one.column) == (1, "rollout_gap_nll"))
    assert (cell.place, cell.runs, cell.low, cell.high) == (place, 3, math.inf, math.inf)


def test_a_run_is_held_against_runs_as_wide_and_of_its_own_frames(published, registry):
    def ranges(*assignments):
        found = verify_result(published(*assignments), registry)
        assert found.comparable, found.summary
        cells = {one.horizon: one for one in found.cells if one.column == "eval_dnll"}
        return found.runs, [(one.low, one.high, one.runs) for one in cells.values()]

    published_run, rerun, second = (
        f"{name}, {steps} steps"
        for name, steps in (("published", 25000), ("rerun", 15000), ("second rerun", 15000))
    )
    # k = 8 has the same frames in both sets; of t >= 11 there is one run as wide.
    assert ranges() == (
        (published_run, rerun, second),
        [
            (-185.58, -184.447, 3),
            (-131.07, -127.72, 3),
            (-85.7624, 56.8871, 3),
            (-70.7543, -62.8806, 3),
        ],
    )
    names, common = ranges("task.frame_set=common")
    assert names == (published_run, rerun, second)
    assert common[:3] == [
        (-185.58, -184.447, 2),
        (-128.656, -127.72, 2),
        (-85.7624, 56.8871, 2),
    ]
    assert ranges("predictor.width=512")[0] == ("third rerun",)


def test_frames_are_compared_not_the_name_of_their_set(published, registry):
    """`common` to the horizons 1 and 2 starts elsewhere; `own` at k = 8 starts where all do."""
    other = published("task.frame_set=common", "task.horizons=[1, 2]")
    other = other.model_copy(update={"horizons": other.horizons[:2]})
    assert differing(verify_result(other, registry)) == {"task.frame_set"}
    same = published("task.frame_set=own", "task.horizons=[8]")
    same = same.model_copy(update={"horizons": same.horizons[3:]})
    assert not differing(verify_result(same, registry))


def test_a_figure_far_from_all_runs_is_outside(published, registry):
    result = published()
    horizon = result.horizons[0]
    figures = tuple(
        one.model_copy(update={"value": -60.0})
        if (one.split, one.name) == ("eval", "dnll")
        else one
        for one in horizon.figures
    )
    changed = horizon.model_copy(update={"figures": figures})
    found = verify_result(
        result.model_copy(update={"horizons": (changed, *result.horizons[1:])}), registry
    )
    assert found.comparable
    assert not found.reproduced
    assert "Outside: eval_dnll at k=1." in found.summary


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (2.0, "inside"),
        (1.0, "inside"),
        (3.5, "near"),
        (-1.0, "near"),
        (5.1, "outside"),
        (math.inf, "outside"),
        (math.nan, "outside"),
    ],
)
def test_the_place_of_a_figure(value, place):
    assert place_of(value, [1.0, 3.0, 2.0]) == place


def test_one_run_is_no_spread_and_infinite_runs_reach_everything():
    assert place_of(1.0, [1.0]) == "no reference"
    assert place_of(1e30, [7.0, math.inf]) == "inside"
    assert place_of(math.inf, [7.0, math.inf]) == "inside"
    assert place_of(math.nan, [7.0, math.inf]) == "inside"
    assert place_of(math.inf, [7.0, math.nan]) == "inside"
    assert place_of(math.inf, [7.0, 8.0, math.nan, math.inf]) == "inside"
    assert place_of(3.0, [math.inf, math.nan]) == "outside"
    assert place_of(3.0, [2.0, 2.0]) == "outside"


@pytest.mark.parametrize(
    ("assignments", "changes", "names"),
    [
        (("training.learning_rate=0.01",), {}, {"training.learning_rate"}),
        (("predictor.width=256", "training.precision=bf16"), {},
         {"predictor.width", "training.precision"}),
        (("encoder.view=encoder",), {}, {"encoder.view"}),
        (("task.frame_set=own",), {}, {"task.frame_set"}),
        (("task.only=high_energy",), {}, {"task.only"}),
        (("training.steps=1000",), {}, {"training.steps"}),
        (("predictor=linear",), {}, {"predictor.name"}),
        ((), {"weights": "sha256:0"}, {"weights"}),
        ((), {"stamps": ("random weights",)}, {"weights"}),
        ((), {"corpus": {"identity": {"corpus": "folder"}}}, {"corpus"}),
        (("utterances.limit=40",), {}, {"corpus", "utterances.limit"}),
        ((), {"corpus": {"speakers": {"train": ("1",), "eval": ("2",)}}}, {"split"}),
        (("transforms=[standardize]",), {}, {"latents"}),
    ],
)  # fmt: skip
def test_a_condition_that_is_not_met_is_named(published, registry, assignments, changes, names):
    found = verify_result(published(*assignments, **changes), registry)
    assert names <= differing(found)
    assert not found.comparable
    assert not found.reproduced
    assert {one.place for one in found.cells} == {"not comparable"}
    assert found.cells[0].low > 0
    assert all(name in found.summary for name in names)
    if "predictor=linear" not in assignments:
        assert differing(found) == names


@pytest.mark.parametrize(
    "assignments",
    [
        ("training.steps=15000",),
        ("seeds=[1, 2]",),
        ("device=cpu", "evaluation.batch_size=16", "task.slices=[all]", "controls=[]"),
        ("corpus.root=/elsewhere", "task.horizons=[1]", "encoder.weights=/a/copy"),
    ],
)
def test_what_changes_no_figure_is_not_held_against_a_run(published, registry, assignments):
    assert verify_result(published(*assignments), registry).comparable


@pytest.mark.parametrize("components", [32, 64])
def test_principal_components_of_mimi_have_a_reference_of_their_own(
    published, registry, components
):
    conditions = ("predictor.width=512", "task.frame_set=common")
    result = published(f"transforms=['pca:{components}']", *conditions)
    found = verify_result(result, registry)
    assert found.reference == f"mimi-pca{components}"
    assert not differing(found)
    assert {one.place for one in found.cells} == {"no reference"}
    assert "one run, which is no spread" in found.summary
    whitened = published(
        f"transforms=[{{name: pca, components: {components}, whiten: true}}]", *conditions
    )
    assert "latents" in differing(verify_result(whitened, registry))


def test_encodec_is_held_against_encodec(published, registry):
    result = published("task.frame_set=common", encoder="encodec-24k", weights="sha256:d7cc33bc9f")
    result.config["encoder"] = {"name": "encodec-24k", "view": "encoder", "weights": "pretrained"}
    found = verify_result(result, registry)
    assert (found.reference, differing(found)) == ("encodec-24k", set())
    result.config["encoder"]["view"] = "quantized:8"
    assert differing(verify_result(result, registry)) == {"encoder.view"}


def test_latents_without_a_reference_stand_beside_mimi(published, registry):
    found = verify_result(published(encoder="soundstream"), registry)
    assert {"latents", "weights"} <= differing(found)
    assert found.reference == "mimi"
    assert found.summary.startswith("Not comparable with Phase 1: latents")


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    def run(result, *options):
        monkeypatch.setenv("COLUMNS", "80")
        (tmp_path / "result.json").write_text(result.to_json())
        return CliRunner().invoke(main, ["verify", str(tmp_path), *options])

    return run


def test_the_command_shows_a_reproduction_and_exits_0(invoke, published):
    shown = invoke(published())
    assert shown.exit_code == 0, shown.output
    assert "Phase 1 is reproduced, as far as that tells." in " ".join(shown.stdout.split())
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_command_exits_1_where_a_run_cannot_be_compared(invoke, published):
    shown = invoke(published("training.batch_size=8"))
    assert shown.exit_code == 1
    assert "DIFFERS  training.batch_size: 8; Phase 1: 256" in shown.stdout
    assert "Not comparable with Phase 1" in shown.stdout


def test_json_is_json_alone(invoke, published):
    shown = invoke(published(), "--json")
    found = json.loads(shown.stdout)
    assert found["reproduced"] is True
    infinite = [one for one in found["cells"] if one["high"] == "Infinity"]
    assert infinite


def test_a_folder_without_a_result_is_an_error(tmp_path):
    shown = CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert shown.exit_code == 2
    assert "holds no finished run" in shown.stderr


def test_every_column_compared_is_a_column_of_the_table():
    data = resources.files("latentbench.verification") / "data" / "phase1-reference.csv"
    header = next(csv.reader(data.read_text("utf-8").splitlines()[1:]))
    from latentbench.verification.references import COLUMNS

    assert set(COLUMNS) < set(header)
