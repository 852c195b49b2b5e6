"""A result that is run again: the same to the bit here, and what drifted is named."""

import json

import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.cli import main
from latentbench.sharing.reproduce import compared


def verdicts(was, now):
    found = compared(was, now, result="r.json", folder="f")
    return {one.figure: one.verdict for one in found.drifts if one.figure == "r2i"}


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(0.4, "the same"), (0.409, "within its interval"), (0.411, "drifted"), (0.389, "drifted")],
)
def test_a_figure_is_held_against_its_interval(make_submitted, now, verdict):
    assert verdicts(make_submitted("a", 0.4), make_submitted("a", now)) == {"r2i": verdict}


def test_without_an_interval_any_other_number_has_drifted(make_submitted):
    was, now = make_submitted("a", 0.4, None), make_submitted("a", 0.4 + 1e-12, None)
    assert verdicts(was, now) == {"r2i": "drifted"}


def test_a_figure_that_is_gone_is_missing(make_submitted):
    now = make_submitted("a", 0.4)
    horizon = now.horizons[0].model_copy(update={"figures": ()})
    assert verdicts(make_submitted("a", 0.4), now.model_copy(update={"horizons": (horizon,)})) == {
        "r2i": "missing"
    }


def test_what_may_have_moved_a_number_is_named(make_submitted):
    was = make_submitted("a", 0.4)
    made = was.provenance.model_copy(
        update={"libraries": {"torch": "9"}, "digests": {"weights": "w"}}
    )
    now = was.model_copy(update={"provenance": made, "config": {**was.config, "seeds": [1]}})
    found = compared(was, now, result="r.json", folder="f")
    assert found.differences == {
        "library torch": ("", "9"),
        "weights": ("", "w"),
        "config seeds": ("[42]", "[1]"),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The smallest run: a closed form, one staleness."""
    root = tmp_path_factory.mktemp("reproduce")
    return lb.run(
        out=root / "run",
        preset="demo",
        encoder="latents",
        corpus={"name": "world:ar1", "speakers": 12, "utterances": 2},
        predictor="persistence",
        cache=root / "cache",
        progress=False,
        set=["task.horizons_ms=[80]", "task.context_ms=80", "controls=[]"],
    )


def test_a_run_made_again_here_is_the_same_to_the_bit(run, tmp_path):
    place = tmp_path / "published"
    published = lb.publish(run, place)
    arguments = ["reproduce", published, "--out", tmp_path / "again", "--cache", tmp_path / "cache"]
    ended = CliRunner().invoke(main, [str(one) for one in (*arguments, "--json")])
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert {one["verdict"] for one in told["drifts"]} == {"the same"}
    assert len(told["drifts"]) > 3
    assert told["differences"] == {}


def test_a_result_that_was_tampered_with_is_found_out(run, tmp_path):
    told = json.loads(run.to_json())
    for one in told["horizons"][0]["figures"]:
        if one["name"] == "dnll":
            one["value"] -= 100
            one["low"], one["high"] = one["value"] - 1, one["value"] + 1
    file = tmp_path / "result.json"
    file.write_text(json.dumps(told), "utf-8")
    arguments = ["reproduce", file, "--out", tmp_path / "again", "--cache", tmp_path / "cache"]
    ended = CliRunner().invoke(main, [str(one) for one in arguments])
    assert ended.exit_code == 1, ended.stderr
    assert "ΔNLL" in ended.stdout
    assert "Outside their intervals, or not there: dnll." in ended.stderr


def test_what_is_no_result_is_said(tmp_path):
    file = tmp_path / "result.json"
    with pytest.raises(lb.UsageError, match="cannot be run again: there is no such file"):
        lb.reproduce(file)
    file.write_text("{}")
    with pytest.raises(lb.UsageError, match="cannot be run again: not a result of this schema"):
        lb.reproduce(file)
