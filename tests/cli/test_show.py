"""`latentbench show` prints a finished run again."""

import json

import pytest

from latentbench.cli.run import _show
from latentbench.cli.session import Session
from latentbench.errors import CellFailedError


@pytest.fixture
def run_folder(tmp_path, make_result):
    (tmp_path / "result.json").write_text(make_result().to_json())
    return tmp_path


def test_table_by_default_and_the_files(invoke, run_folder):
    found = invoke("show", run_folder)
    assert found.exit_code == 0
    assert "mimi on librispeech train-clean-100, mdn against marginal" in found.stdout
    assert "result.json" in found.stdout.splitlines()[-1]


@pytest.mark.parametrize("how", [["--json"], ["--reporter", "json"]])
def test_json_is_json_alone(invoke, run_folder, how):
    found = invoke("show", run_folder, *how)
    assert json.loads(found.stdout)["encoder"]["name"] == "mimi"
    assert found.stderr == ""


def test_csv(invoke, run_folder):
    assert invoke("show", run_folder, "--reporter", "csv").stdout.startswith("horizon_k,slice,")


def test_an_unknown_reporter_names_the_nearest(invoke, run_folder):
    found = invoke("show", run_folder, "--reporter", "tabel")
    assert "There is no reporter called 'tabel'.\nDid you mean 'table'?" in found.stderr
    assert found.exit_code == 2


def test_a_failed_horizon_fails_the_run_after_it_is_shown(make_result, tmp_path, capsys):
    result = make_result()
    failed = result.horizons[1].model_copy(update={"status": "failed", "errors": ("diverged",)})
    result = result.model_copy(update={"horizons": (result.horizons[0], failed)})
    with pytest.raises(CellFailedError, match=r"1 of 2 horizons failed: k=2"):
        _show(result, tmp_path, Session(), "table")
    assert "k=2 failed: diverged" in capsys.readouterr().out
