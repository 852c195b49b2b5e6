"""Which runs a command asks for, with which options."""

from dataclasses import asdict
from itertools import product

import pytest

from latentbench.comparisons.combinations import Request, combine
from latentbench.config import RunConfig
from latentbench.errors import UsageError

LOGMEL_TWICE = {"encoder": ("a=logmel", "b=logmel")}


@pytest.fixture
def combined(registry):
    def run(components, *assignments, **others):
        return combine(Request(components, assignments=assignments, **others), registry)

    return run


def options(combination, section="encoder"):
    return asdict(getattr(combination.config, section).options)


def test_every_combination_is_a_run_of_its_own(combined):
    found = combined(
        {
            "encoder": ("logmel", "mimi"),
            "predictor": ("mdn", "marginal"),
            "corpus": ("english=folder", "german=folder"),
        }
    )
    wanted = product(("logmel", "mimi"), ("mdn", "marginal"), ("english", "german"))
    assert [one.folder for one in found] == ["-".join(names) for names in wanted]
    assert found[1].label == "logmel mdn german"
    assert found[1].corpus == "german"
    assert found[-1].config.predictor.name == "marginal"


def test_a_label_names_only_what_is_compared(combined):
    found = combined({"encoder": ("logmel", "mimi"), "corpus": ("speech-demo",)})
    assert [one.label for one in found] == ["logmel", "mimi"]
    assert [one.folder for one in found] == [
        "logmel-mdn-robust-speech-demo",
        "mimi-mdn-robust-speech-demo",
    ]


def test_folders_are_named_after_the_components_that_the_settings_name(combined):
    """As `lb.compare(encoder="logmel", predictors=...)` gives them."""
    settings = {"encoder": "logmel", "corpus": {"name": "speech-demo"}}
    found = combined({"predictor": ("mdn", "marginal")}, "encoder.mels=5", settings=settings)
    assert [one.folder for one in found] == [
        "logmel-mdn-speech-demo",
        "logmel-marginal-speech-demo",
    ]
    assert [options(one)["mels"] for one in found] == [5, 5]


def test_an_option_goes_to_every_component_that_has_it(combined):
    logmel, mimi = combined({"encoder": ("logmel", "mimi")}, "encoder.weights=random")
    assert options(mimi)["weights"] == "random"
    assert "weights" not in options(logmel)


@pytest.mark.parametrize("swap", [False, True])
def test_an_option_of_one_label_wins_over_the_option_of_all(combined, swap):
    given = ["encoder.hop_ms=40", "encoder.b.hop_ms=20"]
    a, b = combined(LOGMEL_TWICE, *(given[::-1] if swap else given))
    assert (options(a)["hop_ms"], options(b)["hop_ms"]) == (40.0, 20.0)


def test_the_longest_label_is_meant(combined):
    a, b = combined({"encoder": ("a=logmel", "a.b=logmel")}, "encoder.a.b.hop_ms=20")
    assert (options(a)["hop_ms"], options(b)["hop_ms"]) == (80.0, 20.0)


def test_corpora_of_one_kind_have_roots_of_their_own(combined):
    found = combined(
        {"encoder": ("logmel",), "corpus": ("german=folder", "librispeech")},
        "corpus.german.root=de",
        "corpus.root=en",
    )
    assert [options(one, "corpus")["root"] for one in found] == ["de", "en"]


def test_other_options_are_for_all_and_flags_count(combined):
    found = combined(LOGMEL_TWICE, "training.batch_size=7", settings={"training": {"steps": 5}})
    assert {(one.config.training.steps, one.config.training.batch_size) for one in found} == {
        (5, 7)
    }


def test_by_time_is_the_default(combined):
    for one in combined(LOGMEL_TWICE):
        task = one.config.task
        assert task.context_ms == 640
        assert task.horizons_ms == (80, 160, 320, 640)
        assert task.frame_set == "common"
        assert task.step_ms is None


def test_by_frames_is_the_task_of_phase_1(combined):
    for one in combined(LOGMEL_TWICE, match="frames", preset="phase1"):
        assert one.config.task == RunConfig().task


def test_a_comparison_follows_lb1_unless_told_otherwise(combined):
    assert {one.config.protocol for one in combined(LOGMEL_TWICE)} == {"lb1"}
    by_frames, _ = combined(LOGMEL_TWICE, match="frames")
    assert by_frames.config.task.horizons == (1, 2, 4, 8)
    assert (by_frames.config.task.horizons_ms, by_frames.config.task.context_ms) == (None, None)
    assert by_frames.config.training.select == "best"
    published, _ = combined(LOGMEL_TWICE, preset="phase1")
    assert published.config.protocol == "phase1"
    assert published.config.training.select == "last"


def test_settings_in_milliseconds_are_the_users(combined, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: {context_ms: 320}\ntraining: {steps: 9}")
    found = combined(LOGMEL_TWICE, "task.step_ms=80", "task.frame_set=own", config_file=file)
    task = found[0].config.task
    assert (task.context_ms, task.step_ms, task.frame_set) == (320, 80, "own")
    assert task.horizons_ms == (80, 160, 320, 640)
    assert found[0].config.training.steps == 9


def test_a_component_of_a_file_keeps_its_options(combined, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("encoder: {name: logmel, mels: 5}\ncorpus: {name: folder, root: x}")
    one, other = combined({"encoder": ("logmel", "mimi")}, config_file=file)
    assert (one.config.corpus.options.root, options(one)["mels"]) == ("x", 5)
    assert options(other)["view"] == "projected"
    assert [found.label for found in combined({"predictor": ("mdn", "marginal")})] == [
        "mdn",
        "marginal",
    ]


@pytest.mark.parametrize(
    ("components", "assignments", "message"),
    [
        ({"encoder": ("logmel",)}, (), r"needs at least two runs; this is one: encoder 'logmel'"),
        ({"encoder": ("logmel", "logmel")}, (), r"logmel is given 2 times.*\n.*one=logmel"),
        ({"encoder": ("a=logmel", "a=mimi")}, (), r"--encoder a is given 2 times"),
        ({"encoder": ("a=lgmel", "mimi")}, (), r"no encoder called 'lgmel'.*\n.*'logmel'"),
        ({"encoder": ("a b=logmel", "mimi")}, (), r"'a b' is no label"),
        ({"encoder": ("=logmel", "mimi")}, (), r"'' is no label"),
        ({"encoder": ("mels=logmel", "mimi")}, (), r"'mels' is the name of an option of 'logmel'"),
        (LOGMEL_TWICE, ("encoder.weights=random",), r"'weights' is neither an option of any"),
        (LOGMEL_TWICE, ("encoder.hopms=20",), r"nor the label of one \(a, b\).\nDid.*'hop_ms'"),
        (LOGMEL_TWICE, ("encoder.a.hopms=20",), r"'hopms' is no option of the encoder 'logmel'"),
        (LOGMEL_TWICE, ("encoder=mimi",), r"named with --encoder"),
        (LOGMEL_TWICE, ("encoder.name=mimi",), r"named with --encoder"),
        (LOGMEL_TWICE, ("encoder.hop_ms",), r"--set 'encoder.hop_ms' is no assignment"),
        (LOGMEL_TWICE, ("task.horizons=[1, 2, 4, 8]",), r"task.horizons is in frames"),
        (LOGMEL_TWICE, ("task={context_frames: 4}",), r"task.context_frames is in frames"),
    ],
)
def test_a_mistake_is_named(combined, components, assignments, message):
    with pytest.raises(UsageError, match=message):
        combined(components, *assignments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder: [logmel, mimi]", r"'encoder' cannot be \['logmel', 'mimi'\]: expected a name"),
        ("predictor: 3", r"'predictor' cannot be 3: expected a name"),
        ("corpus:", r"'corpus' cannot be None: expected a name"),
        ("encoder: {name: [mimi]}", r"'encoder.name' cannot be \['mimi'\]"),
        ("task: 5", r"'task' cannot be 5: expected a mapping"),
        ("transforms: 5", r"'transforms' cannot be 5"),
    ],
)
def test_a_file_whose_sections_are_none_is_refused(combined, tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        combined({"predictor": ("mdn", "marginal")}, config_file=file)


def test_milliseconds_and_matched_frames_exclude_each_other(combined, tmp_path):
    with pytest.raises(UsageError, match=r"task.step_ms is in milliseconds.*\n.*--match ms"):
        combined(LOGMEL_TWICE, "task.step_ms=80", match="frames")
    file = tmp_path / "mine.yaml"
    file.write_text("task: {horizons: [1, 3]}")
    with pytest.raises(UsageError, match=r"task.horizons is in frames.*\n.*--match frames"):
        combined(LOGMEL_TWICE, config_file=file)
