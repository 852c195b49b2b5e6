"""`latentbench plugins` lists what there is and describes its options."""

import json

import pytest


def test_json_lists_name_kind_origin_and_whether_it_runs(invoke):
    found = json.loads(invoke("plugins", "list", "--json").stdout)
    by_name = {(one["kind"], one["name"]): one for one in found["plugins"]}
    mimi = by_name["encoder", "mimi"]
    assert mimi["distribution"] == "latentbench"
    assert mimi["licence"].startswith("CC")
    assert mimi["runs_here"] is True
    assert mimi["missing"] == []
    assert {"refused", "conflicts"} < found.keys()


def test_what_predictors_give_is_listed_and_shown(invoke):
    found = json.loads(invoke("plugins", "list", "--json").stdout)
    given = {(one["kind"], one["name"]): one["density"] for one in found["plugins"]}
    assert given["predictor", "mdn"] == "exact"
    assert given["encoder", "mimi"] == ""
    assert "density: exact" in invoke("plugins", "show", "mdn").stdout


def test_those_of_one_kind_are_listed_alone(invoke):
    found = json.loads(invoke("plugins", "list", "--kind", "predictor", "--json").stdout)
    assert {one["kind"] for one in found["plugins"]} == {"predictor"}
    assert "engram" in {one["name"] for one in found["plugins"]}
    assert invoke("plugins", "list", "--kind", "predictors").exit_code == 2


def test_table_fits_80_columns_and_cuts_no_word(invoke):
    text = invoke("plugins", "list", env={"COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "librispeech" in text


PLUGIN = """
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec, ReporterSpec

@hookimpl
def latentbench_encoders():
    yield EncoderSpec(
        name="far", summary="needs what is not here", factory="a:b",
        weights_licence="MIT", requires=("no-such-distribution>=1",),
    )

@hookimpl
def latentbench_reporters():
    yield ReporterSpec(name="table", summary="another table", factory="a:b")
"""


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return file


def test_what_is_missing_and_what_is_in_conflict_is_said(invoke, plugin):
    text = invoke("--plugin", plugin, "plugins", "list", env={"COLUMNS": "200"}).stdout
    assert "weights: MIT; needs no-such-distribution>=1" in text
    assert f"Two plugins provide the reporter 'table': latentbench 0.1.0 and {plugin}." in text
    found = json.loads(invoke("--plugin", plugin, "plugins", "list", "--json").stdout)
    far = next(one for one in found["plugins"] if one["name"] == "far")
    assert (far["runs_here"], far["missing"]) == (False, ["no-such-distribution>=1"])
    assert found["conflicts"][0]["distributions"] == ["latentbench", str(plugin)]


def test_strict_plugins_makes_a_conflict_fatal(invoke, plugin):
    found = invoke("--plugin", plugin, "--strict-plugins", "plugins", "list")
    assert "Two plugins provide the reporter 'table'" in found.stderr
    assert found.exit_code == 2


def test_show_gives_every_option_its_type_default_and_help(invoke):
    text = invoke("plugins", "show", "mdn", env={"COLUMNS": "120"}).stdout
    row = next(line for line in text.splitlines() if line.startswith("components"))
    assert row.split()[:3] == ["components", "int", "8"]
    assert "mixture" in row
    assert "--set predictor.OPTION=VALUE" in text


def test_show_of_a_component_without_options(invoke):
    assert "no options" in invoke("plugins", "show", "csv").stdout
