"""`latentbench plugins check` and `plugins new`: what is found, told and returned."""

import json

import pytest

PLUGIN = """
import torch
from latentbench.encoders import Encoder
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec, ReporterSpec

class Leaky(Encoder):
    sample_rate, hop, dim = 16_000, 320, 4

    def __init__(self, options, workspace):
        pass

    def load(self, device):
        pass

    def encode(self, audio, lengths):
        latents = audio.reshape(len(audio), -1, 4, 80).mean(-1)
        ahead = torch.nn.functional.pad(latents, (0, 0, 0, 1))[:, 1:]
        return latents + ahead, (lengths + 319) // 320

    def fingerprint(self):
        return {"encoder": "leaky 1"}

@hookimpl
def latentbench_encoders():
    yield EncoderSpec(name="leaky", summary="sees ahead", factory=f"{__name__}:Leaky")

@hookimpl
def latentbench_reporters():
    yield ReporterSpec(name="leaky", summary="of the same name", factory="a:b")
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "leaky.py"
    file.write_text(PLUGIN)
    return file


def test_a_component_that_passes_exits_with_0_in_80_columns(invoke):
    result = invoke("plugins", "check", "logmel", "--set", "mels=20", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert "encoder 'logmel' of latentbench" in result.stdout
    assert "D = 20" in result.stdout
    assert "18 passed, 0 in doubt, 0 skipped, 0 failed" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_failure_exits_with_1_and_says_what_was_wanted_and_what_came(invoke, plugin):
    result = invoke("--plugin", plugin, "plugins", "check", "leaky", "--kind", "encoder")
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    assert "leaky.py" in "".join(result.stdout.split())  # a long path is wrapped
    assert "look_ahead fail A frame depends on audio up to look_ahead frames after its own" in text
    assert "13 passed, 0 in doubt, 4 skipped, 1 failed" in text


def test_json_says_the_same(invoke, plugin):
    arguments = ("--plugin", plugin, "plugins", "check", "leaky", "--kind", "encoder", "--json")
    result = invoke(*arguments)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["name"], found["kind"], found["passed"]) == ("leaky", "encoder", False)
    failed = [one for one in found["checks"] if one["status"] == "fail"]
    assert [one["check"] for one in failed] == ["look_ahead"]
    assert "it sees 1 frame(s) ahead" in failed[0]["detail"]


def test_a_name_of_several_kinds_asks_which(invoke, plugin):
    result = invoke("--plugin", plugin, "plugins", "check", "leaky")
    assert result.exit_code == 2
    assert "Error: 'leaky' is the name of several kinds: encoder, reporter." in result.stderr
    assert "--kind encoder" in result.stderr


def test_options_may_be_named_as_in_a_run(invoke):
    result = invoke("plugins", "check", "logmel", "--set", "encoder.mels=20")
    assert "D = 20" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("logmell",), "There is no plugin called 'logmell'.\nDid you mean 'logmel'?"),
        (("logmel", "--set", "mel=3"), "'mel' is no option of the encoder 'logmel'."),
        (("logmel", "--set", "mels=no"), "'encoder.mels' cannot be 'no'"),
        (("logmel", "--kind", "metric"), "There is no metric called 'logmel'."),
    ],
)
def test_bad_usage_names_the_nearest(invoke, arguments, message):
    result = invoke("plugins", "check", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_new_says_what_was_made_and_what_comes_next(invoke, tmp_path):
    result = invoke("plugins", "new", "metric", "mine", "--out", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "mine" / "latentbench_mine" / "metric.py").is_file()
    assert "  latentbench_mine/metric.py\n" in result.stdout
    assert f"  python -m pip install -e {tmp_path / 'mine'}\n" in result.stdout
    again = invoke("plugins", "new", "metric", "mine", "--out", tmp_path)
    assert again.exit_code == 2
    assert "is there already; nothing was written." in again.stderr
