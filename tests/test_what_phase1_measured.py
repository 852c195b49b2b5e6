"""The commands of docs/what-phase-1-measured.md run as written, on less speech, in two steps."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentbench.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "what-phase-1-measured.md"
DATA = Path(__file__).parents[2] / "shared" / "data"
BLOCK = re.compile(r"^```(yaml|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LESS = ("--steps", "2", "--limit", "16", "--set", "predictor.width=8", "--device", "cpu")
# It takes minutes whatever it is given; tests/test_calibration.py runs it.
NOT_HERE = ("calibrate",)
REFUSES = ("verify",)  # SoundStream is not among the reference's encoders, as the page says


def commands():
    """Every command of the page as words, in order, and the text of its one YAML file."""
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    lines = [
        line
        for kind, text in blocks
        if kind == "sh"
        for line in text.replace("\\\n", " ").splitlines()
    ]
    (yaml,) = (text for kind, text in blocks if kind == "yaml")
    return [shlex.split(line)[1:] for line in lines], yaml


def test_every_command_of_the_page_runs_as_written(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="SoundStream needs a tflite runtime")
    if not (DATA / "lyra").is_dir():
        pytest.skip("no recordings beside the checkout, in ../shared/data")
    words, yaml = commands()
    (tmp_path / "speech.yaml").write_text(yaml)
    (tmp_path / "LibriSpeech").symlink_to(DATA / "LibriSpeech")
    weights = "soundstream_encoder.tflite"
    (tmp_path / weights).symlink_to(DATA / "lyra" / weights)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    ran = []
    for command in words:
        verb = command[0]
        if verb in NOT_HERE:
            continue
        trains = verb == "run" or "--encoder" in command
        found = CliRunner().invoke(main, [*command, *(LESS if trains else ())])
        assert found.exit_code == int(verb in REFUSES), f"{command}\n{found.output}"
        ran.append(" ".join(command))
    assert "rollout runs/robust --horizon 8 --mode sample" in ran
    assert {one.split()[0] for one in ran} == {
        "run", "compare", "show", "explain", "rollout", "verify",
    }  # fmt: skip
