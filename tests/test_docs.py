"""Every hook, option, metric and flag is documented, or these fail."""

import re
from pathlib import Path

import click
import pytest
import yaml

import latentbench
from latentbench.cli import main
from latentbench.config import (
    ComponentConfig,
    RunConfig,
    UnrollingConfig,
    preset_names,
    read_layers,
)
from latentbench.conformance.check import kit_of
from latentbench.plugins import load_registry
from latentbench.results.horizons import HEADER
from latentbench.specs import KINDS, option_fields

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    "corpus": "corpora.md",
    "encoder": "encoders.md",
    "factorization": "factorisation.md",
    "predictor": "predictors.md",
    "metric": "metrics.md",
    "reporter": "results.md",
    "tracker": "watching.md",
}


def page(name):
    return (DOCS / name).read_text("utf-8")


def built_in(kind):
    return [
        one.spec
        for one in load_registry().of_kind(kind)
        if one.provider.distribution == "latentbench"
    ]


@pytest.mark.parametrize("kind", PAGES)
def test_every_component_and_option_is_on_the_page_of_its_station(kind):
    text = page(PAGES[kind])
    wanted = [spec.name for spec in built_in(kind)]
    wanted += [option.name for spec in built_in(kind) for option in option_fields(spec.options)]
    assert [name for name in wanted if f"`{name}`" not in text] == []


def test_every_hook_is_named_somewhere():
    text = "".join(file.read_text("utf-8") for file in DOCS.glob("*.md"))
    assert [kind.hook for kind in KINDS.values() if f"`{kind.hook}`" not in text] == []


def commands(group, path=()):
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))


def test_every_verb_and_flag_is_on_the_page_of_the_command_line():
    text = page("command-line.md")
    found = list(commands(main))
    flags = {
        flag
        for command in (main, *(command for _, command in found))
        for option in command.params
        if isinstance(option, click.Option)
        for flag in option.opts
        if flag.startswith("--")
    }
    assert len(flags) > 20
    assert [flag for flag in sorted(flags) if f"`{flag}" not in text] == []
    assert [path for path, _ in found if f"`latentbench {' '.join(path)}" not in text] == []


def test_every_key_of_the_configuration_is_on_the_page_of_the_command_line():
    text = page("command-line.md")
    keys = []
    for name, field in RunConfig.model_fields.items():
        component = field.annotation is ComponentConfig  # its other keys are its options
        nested = ["name"] if component else getattr(field.annotation, "model_fields", {})
        keys += [f"{name}.{key}" for key in nested] or [name]
    keys += [f"training.rollout.{key}" for key in UnrollingConfig.model_fields]
    assert len(keys) > 20
    assert [key for key in keys if f"`{key}`" not in text] == []
    assert [name for name in preset_names() if f"`{name}`" not in text] == []


def test_every_column_of_horizons_csv_is_on_the_page_of_results():
    text = page("results.md")
    assert [column for column in HEADER if f"`{column}`" not in text] == []


def test_the_messages_of_the_troubleshooting_page_are_those_that_are_printed():
    package = Path(latentbench.__file__).parent
    code = "".join(file.read_text("utf-8") for file in package.rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message may be written as several strings
    messages = re.findall(r"\*\*`([^`]+)`\*\*", page("troubleshooting.md"))
    assert len(messages) > 10
    assert [message for message in messages if message not in code] == []


def test_the_keys_of_the_protocol_page_are_those_of_its_preset():
    rows = [line.split("|")[3] for line in page("protocol.md").splitlines() if line.count("|") == 4]
    keys = re.findall(r"`([^`]+)`", " ".join(rows))
    preset = read_layers("phase1", None, [])
    known = {f"{one}.{key}" for one, of in preset.items() if isinstance(of, dict) for key in of}
    assert len(keys) > 15
    assert set(keys) - known - set(preset) == set()


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text("utf-8"))
    assert cited["version"] == latentbench.__version__


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_is_on_the_page_of_plugins(kind):
    text = page("plugins.md")
    assert [one.__name__ for one in kit_of(kind).all if f"`{one.__name__}`" not in text] == []
