import subprocess
import sys

import pytest

from latentbench.encoders import Encoder
from latentbench.encoders.plugin import (
    LogMelOptions,
    MimiOptions,
    PocketTTSOptions,
    latentbench_encoders,
)
from latentbench.plugins import Component, Provider
from latentbench.specs import option_fields
from latentbench.workspace import Workspace

SPECS = {spec.name: spec for spec in latentbench_encoders()}


def test_the_built_in_encoders():
    assert SPECS["mimi"].options is MimiOptions
    assert SPECS["logmel"].options is LogMelOptions
    assert SPECS["mimi"].weights_licence == "CC-BY-4.0"
    assert SPECS["pocket-tts"].options is PocketTTSOptions
    assert SPECS["pocket-tts"].weights_licence == "CC-BY-4.0"
    assert len(SPECS) == 3


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_makes_its_encoder_without_loading_weights(name):
    component = Component(SPECS[name], Provider("latentbench", "0", "tests"))
    encoder = component.create(SPECS[name].options(), Workspace())
    assert isinstance(encoder, Encoder)
    assert encoder.frame_rate == 12.5


@pytest.mark.parametrize("name", SPECS)
def test_every_option_says_what_it_does(name):
    for option in option_fields(SPECS[name].options):
        assert option.help, option.name
        assert not option.required


def test_listing_encoders_imports_nothing_heavy():
    code = (
        "import sys, latentbench.encoders.plugin\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'transformers', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
