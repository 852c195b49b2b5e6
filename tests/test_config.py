"""The configuration: layers merge in order, unknown keys name the nearest, defaults are Phase 1."""

import textwrap

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from latentbench.config import (
    ComponentConfig,
    RunConfig,
    build_options,
    preset_names,
    read_layers,
    resolve,
)
from latentbench.errors import LatentbenchError, UsageError, nearest
from latentbench.plugins import load_registry


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def test_the_preset_phase1_is_the_defaults(registry):
    assert resolve(read_layers("phase1", None, []), registry) == resolve({}, registry)


def test_no_preset_is_phase1():
    assert read_layers(None, None, []) == read_layers("phase1", None, [])


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves_and_reads_back(registry, tmp_path, name):
    config = resolve(read_layers(name, None, []), registry)
    file = tmp_path / "copy.yaml"
    file.write_text(config.to_yaml())
    again = resolve(read_layers(None, file, []), registry)
    assert again == config
    assert again.digest() == config.digest()


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training: {steps: 5, batch_size: 6}")
    layers = read_layers("demo", file, ["training.batch_size=7"])
    assert layers["training"]["steps"] == 5
    assert layers["training"]["batch_size"] == 7
    assert layers["training"]["clip_norm"] == 1.0
    assert layers["encoder"]["name"] == "logmel"


@given(
    steps=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    seeds=st.lists(st.integers(), min_size=1, max_size=5),
)
def test_the_last_assignment_of_a_key_wins_whatever_stands_between(steps, seeds):
    assignments = [f"training.steps={n}" for n in steps] + [f"seeds=[{n}]" for n in seeds]
    layers = read_layers(None, None, assignments)
    assert layers["training"]["steps"] == steps[-1]
    assert layers["seeds"] == [seeds[-1]]
    assert layers["training"]["batch_size"] == 256


@pytest.mark.parametrize("how", ["encoder=logmel", "encoder.name=logmel", "encoder={name: logmel}"])
def test_naming_another_component_drops_the_options_of_the_former(how):
    layers = read_layers(None, None, ["encoder.view=semantic", how])
    assert layers["encoder"] == {"name": "logmel"}


def test_naming_the_same_component_keeps_its_options():
    layers = read_layers(None, None, ["encoder.view=semantic", "encoder=mimi"])
    assert layers["encoder"]["view"] == "semantic"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("2024-01-31", "2024-01-31"),
        ("true", True),
        ("False", False),
        ("7", 7),
        ("[1, 2]", [1, 2]),
        ("", None),
        ("a=b", "a=b"),
    ],
)
def test_words_stay_words_in_assignments(text, value):
    assert read_layers(None, None, [f"corpus.root={text}"])["corpus"]["root"] == value


@pytest.mark.parametrize(
    ("assignment", "message", "hint"),
    [
        ("trainin.steps=1", "'trainin' is no option of a run", "Did you mean 'training'?"),
        ("training.stepz=1", "'training.stepz' is no option", "Did you mean 'steps'?"),
        ("encoder.veiw=x", "'veiw' is no option of the encoder 'mimi'", "Did you mean 'view'?"),
        ("encoder.name=mimmi", "no encoder called 'mimmi'", "Did you mean 'mimi'?"),
        ("baseline=marginl", "no predictor called 'marginl'", "Did you mean 'marginal'?"),
        ("training.steps=many", "'training.steps' cannot be 'many'", ""),
        ("training.steps=0", "'training.steps' cannot be 0", ""),
        ("training.learning_rate=.inf", "'training.learning_rate' cannot be '.inf'", ""),
        ("training.learning_rate=1e999", "'training.learning_rate' cannot be inf", ""),
        ("training.steps=true", "'training.steps' cannot be True", ""),
        ("training.steps=1:30", "'training.steps' cannot be '1:30'", ""),
        ("training.steps=1_000", "'training.steps' cannot be '1_000'", ""),
        ("training.steps=0x10", "'training.steps' cannot be '0x10'", ""),
        ("training.steps=2147483648", "'training.steps' cannot be 2147483648", ""),
        ("training.learning_rate=true", "'training.learning_rate' cannot be True", ""),
        ("seeds=[010]", "'seeds.0' cannot be '010'", ""),
        ("seeds=[3000000000]", "'seeds.0' cannot be 3000000000", ""),
        ("seeds=[-1]", "'seeds.0' cannot be -1", ""),
        ("seeds=[100000000000000000000]", "'seeds.0' cannot be 100000000000000000000", ""),
        ("split.seed=-1", "'split.seed' cannot be -1", ""),
        ("rollout.seed=-1", "'rollout.seed' cannot be -1", ""),
        ("task.horizons=[32768]", "'task.horizons.0' cannot be 32768", ""),
        ("predictor.components=true", "'predictor.components' cannot be True", ""),
        ("predictor.components=010", "'predictor.components' cannot be '010'", ""),
        ("predictor.width=4000000000", "'predictor.width' cannot be 4000000000", ""),
        ("encoder.weights_seed=-1", "'encoder.weights_seed' cannot be -1", ""),
        ("encoder={name: logmel, hop_ms: 1e999}", "'encoder.hop_ms' cannot be inf", ""),
        ("transforms=[{name: shuffled-frames, seed: -1}]", "'transform.seed' cannot be -1", ""),
        ("encoder=5", "'encoder' cannot be 5: expected a name", ""),
        ("encoder=[mimi]", "'encoder' cannot be ['mimi']: expected a name", ""),
        ("task=[1]", "'task' cannot be [1]: expected a mapping of options", ""),
        ("training.precision=fp8", "'training.precision' cannot be 'fp8'", ""),
        ("predictor.components=few", "'predictor.components' cannot be 'few'", ""),
        ("split.eval_fraction=1", "'split.eval_fraction' cannot be 1", ""),
        ("task.horizons=1,2", "'task.horizons' cannot be '1,2'", "Write a list as [1, 2]."),
        ("task.horizons=[1, 1]", "names one of them twice", ""),
        ("task.horizons=[]", "'task.horizons' cannot be []", ""),
        ("task.horizons=[0]", "'task.horizons.0' cannot be 0", ""),
        ("training=5", "'training' cannot be 5", ""),
        ("seeds=", "'seeds' cannot be None", "Write a list as [1, 2]."),
    ],
)
def test_what_cannot_be_is_told(registry, assignment, message, hint):
    with pytest.raises(UsageError) as refused:
        resolve(read_layers(None, None, [assignment]), registry)
    assert message in refused.value.message
    assert refused.value.hint == hint
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("root", ["2024", "2024.10", "007", "1e3", "1_000", "1:30", "2024-01"])
def test_a_folder_whose_name_is_a_number_keeps_its_name(registry, tmp_path, root):
    file = tmp_path / "mine.yaml"
    file.write_text(f"corpus: {{name: folder, root: {root}}}")
    for layers in (
        read_layers(None, None, ["corpus=folder", f"corpus.root={root}"]),
        read_layers(None, file, []),
    ):
        config = resolve(layers, registry)
        assert config.corpus.options.root == root
        file.write_text(config.to_yaml())
        assert resolve(read_layers(None, file, []), registry) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {steps: 1}\ntraining: {batch_size: 2}", "'training' is given twice"),
        ("training: {steps: 1, steps: 2}", "'steps' is given twice"),
        ("a: &b {c: 1}\nd: *b", "an alias"),
        ("[" * 30 + "]" * 30, "nested too deeply"),
        ("seeds: [!!int x]", "cannot be read"),
        ("seeds: !!python/tuple [1]", "cannot be read"),
    ],
)
def test_yaml_that_would_drop_or_hide_a_value_is_refused(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_layers(None, file, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fase1", None, []), "There is no preset called 'fase1'"),
        ((None, None, ["steps"]), "--set 'steps' is no assignment"),
        ((None, None, ["=3"]), "--set '=3' is no assignment"),
        ((None, None, ["training..steps=3"]), "is no assignment"),
        ((None, None, [".".join("a" * 2000) + "=3"]), "is no assignment"),
        ((None, None, ["training={steps: 1, steps: 2}"]), "'steps' is given twice"),
        ((None, None, ["a.b={"]), "The YAML of the value of --set a.b cannot be read"),
        ((None, None, ["task.horizons=[1, 2"]), "value of --set task.horizons cannot be read"),
        ((None, None, ["task.horizons=[1, 2]]"]), "value of --set task.horizons cannot be read"),
        ((None, None, ["encoder={name: mimi] x"]), "value of --set encoder cannot be read"),
        ((None, None, ["encoder={name: mimi} x"]), "value of --set encoder cannot be read"),
        ((None, None, ["encoder.view='all"]), "value of --set encoder.view cannot be read"),
    ],
)
def test_layers_that_cannot_be_read(arguments, message):
    with pytest.raises(UsageError, match=message):
        read_layers(*arguments)


@pytest.mark.parametrize("pattern", ["{speaker}_*", "**/*.wav", "[ab]*.wav", "{speaker}.*", "%x"])
def test_a_pattern_needs_no_quotes_in_an_assignment(pattern, tmp_path):
    found = read_layers(None, None, [f"corpus.speaker_pattern={pattern}"])
    assert found["corpus"]["speaker_pattern"] == pattern
    file = tmp_path / "mine.yaml"
    file.write_text(f"corpus:\n  speaker_pattern: {pattern}\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_layers(None, file, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: [", "cannot be read"),
        (b"- 1", "holds list, expected a mapping"),
        (b"", "holds NoneType, expected a mapping"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_layers(None, file, [])


def test_an_option_that_is_no_utf_8_is_named(registry):
    config = ComponentConfig(name="kaldi", root="/data/caf\udce9")
    with pytest.raises(UsageError, match=r"'corpus\.root' cannot be .*: it is no UTF-8") as caught:
        build_options(config, "corpus", registry)
    assert "name a link to it" in caught.value.hint


def test_an_option_that_must_be_given_is_asked_for(tmp_path):
    file = tmp_path / "plugin.py"
    file.write_text(
        textwrap.dedent(
            """
            from dataclasses import dataclass
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import EncoderSpec

            @dataclass(frozen=True)
            class Options:
                weights: str

            @hookimpl
            def latentbench_encoders():
                yield EncoderSpec(name="own", summary="s", factory="a:b", options=Options)
            """
        )
    )
    with pytest.raises(UsageError, match=r"'encoder.weights' must be given.\nGive it with --set"):
        resolve(read_layers(None, None, ["encoder=own"]), load_registry([file]))


def test_options_are_filled_in_and_typed(registry):
    config = resolve(read_layers(None, None, ["predictor.components=4"]), registry)
    options = build_options(config.predictor, "predictor", registry)
    assert (options.components, options.width) == (4, 1024)
    assert yaml.safe_load(config.to_yaml())["predictor"]["width"] == 1024


def test_the_digest_tells_all_that_decides_the_numbers():
    digests = {
        RunConfig().digest(),
        RunConfig(seeds=(1,)).digest(),
        RunConfig.model_validate({"training": {"steps": 1}}).digest(),
        RunConfig.model_validate({"encoder": {"name": "mimi", "view": "encoder"}}).digest(),
    }
    assert len(digests) == 4
    elsewhere = RunConfig.model_validate({"engine": {"name": "elsewhere"}})
    assert elsewhere.digest() == RunConfig().digest()


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("mimmi", ["mimi", "logmel"], "Did you mean 'mimi'?"),
        ("zzz", ["mimi", "logmel"], "Known: logmel, mimi."),
        ("x", [], "None are known."),
    ],
)
def test_nearest(name, known, hint):
    assert nearest(name, known) == hint


def test_an_error_reads_as_message_and_hint():
    assert str(LatentbenchError("what", "next")) == "what\nnext"
    assert str(LatentbenchError("what")) == "what"


@pytest.mark.parametrize(
    ("assignments", "seed"),
    [
        ((), 42),  # published: default_rng(42 + 20000 + k)
        (("seeds=[7]",), 7),
        (("seeds=[1, 2]",), 1),
        (("seeds=[1, 2]", "rollout.seed=5"), 5),
    ],
)
def test_all_seeds_of_a_run_draw_the_utterances_of_the_rollout_by_one(registry, assignments, seed):
    assert resolve(read_layers(None, None, assignments), registry).rollout_seed == seed
