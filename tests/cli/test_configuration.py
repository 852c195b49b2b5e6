"""Flags, --set, presets and files make one configuration."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latentbench.api import configure, default_folder
from latentbench.cli.configuration import configuration_options, settings_of
from latentbench.cli.session import Session
from latentbench.config import RunConfig


@pytest.fixture
def configured():
    def resolve(*arguments):
        found = []

        @click.command()
        @configuration_options
        def command(**given):
            found.append(configure(**settings_of(Session(), {**given, "cache": None})))

        CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False)
        return found[0]

    return resolve


@pytest.mark.parametrize(
    ("arguments", "section", "option", "value"),
    [
        (["--steps", "7"], "training", "steps", 7),
        (["--precision", "bf16"], "training", "precision", "bf16"),
        (["--horizons", "1,3"], "task", "horizons", (1, 3)),
        (["--slice", "high_energy"], "task", "slices", ("all", "high_energy")),
        (["--slice", "all", "--slice", "x"], "task", "slices", ("all", "x")),
        (["--limit", "40"], "utterances", "limit", 40),
        (["--set", "split.eval_fraction=0.25"], "split", "eval_fraction", 0.25),
        (["--set", "task.horizons=[2]"], "task", "horizons", (2,)),
    ],
)
def test_a_flag_sets_its_option(configured, arguments, section, option, value):
    assert getattr(getattr(configured(*arguments), section), option) == value


def test_seed_device_and_components(configured):
    config = configured(
        *["--seed", 0, "--device", "cpu", "--encoder", "logmel"],
        *["--corpus", "folder", "--predictor", "marginal", "--set", "corpus.root=x"],
    )
    assert (config.seeds, config.device) == ((0,), "cpu")
    names = (config.encoder.name, config.corpus.name, config.predictor.name)
    assert names == ("logmel", "folder", "marginal")


@pytest.mark.parametrize("swap", [False, True])
def test_naming_a_component_keeps_the_options_set_for_it(configured, swap):
    name, option = ("--encoder", "logmel"), ("--set", "encoder.hop_ms=40")
    config = configured(*option, *name) if swap else configured(*name, *option)
    assert (config.encoder.name, config.encoder.options.hop_ms) == ("logmel", 40.0)


def test_transforms_are_applied_in_the_order_given(configured):
    found = configured("--transform", "standardize", "--transform", "pca:2").transforms
    assert [one.name for one in found] == ["standardize", "pca"]
    assert found[1].options.components == 2
    assert configured().transforms == ()


def test_set_wins_over_flags_and_flags_over_files(configured, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training: {steps: 1, batch_size: 3}\nseeds: [5]")
    config = configured("--config", file, "--steps", 2, "--set", "training.steps=3", "--seed", 6)
    assert (config.training.steps, config.training.batch_size, config.seeds) == (3, 3, (6,))


def test_a_resolved_configuration_reads_back(configured, tmp_path):
    first = configured("--preset", "demo", "--set", "training.learning_rate=3e-4")
    file = tmp_path / "config.yaml"
    file.write_text(first.to_yaml())
    assert configured("--config", file) == first


def test_every_configuration_has_a_folder_of_its_own():
    one, other = RunConfig(), RunConfig(seeds=(1,))
    assert default_folder(one).parent == Path("runs")
    assert default_folder(one).name == f"mimi-mdn-librispeech-{one.digest()[:8]}"
    assert default_folder(one) != default_folder(other)


def test_the_folder_of_a_world_has_a_name_that_every_file_system_takes():
    config = RunConfig.model_validate({"corpus": {"name": "world:ar1"}})
    assert default_folder(config).name == f"mimi-mdn-world-ar1-{config.digest()[:8]}"
    odd = RunConfig.model_validate({"predictor": {"name": 'a<b>c:d"e/f\\g|h?i*j\tk'}})
    assert default_folder(odd).parent == Path("runs")
    assert default_folder(odd).name.startswith("mimi-a-b-c-d-e-f-g-h-i-j-k-librispeech-")


def test_several_seeds(configured):
    assert configured("--seeds", "0,1,2").seeds == (0, 1, 2)
