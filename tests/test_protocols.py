"""Which protocol a result says it follows."""

import pytest
from scipy.stats import t as student_t

from latentbench.api import run
from latentbench.config import preset_names, read_layers, resolve
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.protocols import followed
from latentbench.reports.words import words_of_run
from latentbench.worlds.plugin import build_world, world_options


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def of(registry, preset, *layers):
    return followed(resolve(read_layers(preset, None, layers), registry), registry)


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_alone_is_its_own_name(registry, preset):
    assert of(registry, preset) == preset


def test_phase1_is_what_is_followed_without_a_word(registry):
    assert of(registry, None) == "phase1"
    assert of(registry, None, "training.steps=300") == "phase1 with training.steps=300"


def test_what_is_measured_and_by_what_it_is_computed_is_left_open(registry):
    layers = (
        "encoder=logmel",
        "encoder.mels=8",
        "device=cpu",
        "evaluation.batch_size=7",
        "corpus.root=/there",
    )
    assert of(registry, "lb1", *layers) == "lb1"


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("corpus.subset=train-clean-5", "corpus.subset=train-clean-5"),
        ("corpus=folder", "corpus=folder"),
        ("predictor=linear", "predictor=linear"),
        ("predictor.width=64", "predictor.width=64"),
        ("task.context_ms=80", "task.context_ms=80.0"),
        ("task.context_frames=4", "task.context_frames=4"),
        ("task.horizons=[1,2]", "task.horizons=[1,2]"),
        ("seeds=[0]", "seeds=[0]"),
        ("training.select=last", "training.select=last"),
    ],
)
def test_each_key_that_is_changed_is_named(registry, layer, told):
    assert of(registry, "lb1", layer) == f"lb1 with {told}"


def test_options_of_another_component_are_named_where_they_are_not_its_own(registry):
    found = of(registry, "lb1", "predictor=mdn", "predictor.width=64")
    assert found == "lb1 with predictor=mdn, predictor.width=64"


def test_lb1_small_and_quick_are_lb1_on_less(registry):
    lb1, small, quick = (
        resolve(read_layers(one, None), registry).model_dump(exclude={"protocol"})
        for one in ("lb1", "lb1-small", "quick")
    )
    assert small.pop("corpus") != lb1.pop("corpus")
    assert small == lb1
    assert quick["seeds"] == (0,)
    assert quick["task"].pop("horizons_ms") == (80.0, 320.0)
    assert small["task"].pop("horizons_ms") == (80.0, 160.0, 320.0, 640.0)
    assert quick["task"] == small["task"]
    assert quick["training"] == small["training"]


def test_a_time_in_frames_takes_the_place_of_one_in_milliseconds(registry):
    task = resolve(read_layers("lb1", None, ["task.horizons=[1]"]), registry).task
    assert (task.horizons, task.horizons_ms, task.context_ms) == ((1,), None, 640.0)


def test_the_best_weights_need_speakers_to_choose_by(registry):
    with pytest.raises(UsageError, match=r"training.select=best needs .*validation_fraction is 0"):
        resolve(read_layers(None, None, ["training.select=best"]), registry)


SMALL = {"speakers": 60, "utterances": 2, "frames": 480, "dim": 2}
WORLDS = {"ar1": {}, "var": {}, "state-space": {}, "factored": {"predictable": 1}, "iid": {}}
# Five worlds at four stalenesses: so wide that all intervals hold together with 99 %.
ALL_HOLD = 1 - 0.01 / (2 * 5 * 4)
AS_SMALL = (
    "predictor.covariance=full",  # closed form: what is tested is the protocol, not a training
    "utterances.min_seconds=0",
    "evaluation.metrics=[nll, dnll, gain, r2i]",
    "rollout.utterances=0",
    "seeds=[0]",
    "device=cpu",
)


@pytest.mark.parametrize("world", WORLDS)
def test_the_gain_of_lb1_is_the_truth_within_its_interval(world, tmp_path):
    options = {**SMALL, **WORLDS[world]}
    layers = [*AS_SMALL, *(f"corpus.{name}={value}" for name, value in options.items())]
    result = run(
        preset="lb1",
        encoder="latents",
        corpus=f"world:{world}",
        predictor="linear",
        set=layers,
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    known = build_world(world_options(world)(**options))
    assert [one.milliseconds for one in result.record.horizons] == [80, 160, 320, 640]
    for horizon in result.record.horizons:
        truth = known.truth(horizon.k, result.config.task.context_frames, "x")
        expected = truth.nll_unconditional - truth.nll
        gain = horizon.figure("eval", "all", "gain")
        reach = student_t.ppf(ALL_HOLD, gain.speakers - 1) * gain.speaker_error
        assert abs(gain.value - expected) <= reach, (horizon.k, expected, gain)
        assert world != "iid" or expected == pytest.approx(0.0, abs=1e-12)
    words = " ".join(words_of_run(result.record))
    assert ("The context is worth" in words) == (world != "iid")
    assert world != "iid" or "No information was found" in words
