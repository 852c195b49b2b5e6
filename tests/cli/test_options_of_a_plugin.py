"""Options of a plugin's metrics and reporters reach `run`, `show` and `compare`."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from latentbench.cli import main

PLUGIN = """
from dataclasses import dataclass
from typing import Annotated

from latentbench.hookspecs import hookimpl
from latentbench.metrics.columns import cosine
from latentbench.metrics.metric import MeanMetric
from latentbench.reports.reporter import Reporter
from latentbench.specs import MetricSpec, ReporterSpec


@dataclass(frozen=True)
class AlignedOptions:
    above: Annotated[float, "least cosine"] = 0.5


class Aligned(MeanMetric):
    name = "aligned"
    better = "higher"

    def __init__(self, options):
        self.columns = {"aligned": lambda prediction: (cosine(prediction) > options.above).double()}
        super().__init__(options)


class Drawn(MeanMetric):
    name = "drawn"
    better = "lower"
    columns = {"drawn": lambda prediction: prediction.model.sample().norm(dim=-1)}


@dataclass(frozen=True)
class LineOptions:
    word: Annotated[str, "before the figure"] = "value"


class Line(Reporter):
    def __init__(self, options):
        self.word = options.word

    def report(self, result, console):
        console.print(f"{self.word}: {result.horizons[0].figure('eval', 'all', 'dnll').value:.6f}")


@hookimpl
def latentbench_metrics():
    yield MetricSpec(
        name="aligned", summary="x", factory=f"{__name__}:Aligned", options=AlignedOptions
    )
    yield MetricSpec(name="drawn", summary="x", factory=f"{__name__}:Drawn")


@hookimpl
def latentbench_reporters():
    yield ReporterSpec(name="line", summary="x", factory=f"{__name__}:Line", options=LineOptions)
"""
SMALL = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1", "--device", "cpu"),
    *("--set", "corpus.utterances=1", "--set", "corpus.frames=40", "--set", "corpus.dim=3"),
    *("--set", "utterances.min_seconds=0", "--set", "controls=[]", "--set", "task.slices=[all]"),
    *("--set", "corpus.speakers=6", "--set", "split.eval_fraction=0.5", "--predictor", "linear"),
)
LINE = "{name: line, word: gain}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    (place / "plugin.py").write_text(PLUGIN)

    def invoke(*arguments, code=0):
        words = ["--plugin", str(place / "plugin.py"), *map(str, arguments)]
        found = CliRunner().invoke(main, words, env={"COLUMNS": "120"})
        assert found.exit_code == code, found.output
        return found.output

    def run(name, above, *more):
        metrics = f"evaluation.metrics=[dnll, direction_cos, drawn, {{name: aligned, {above}}}]"
        out = ("--out", place / name, "--cache", place / "cache")
        return invoke(*SMALL, "--set", metrics, *out, *more)

    run("low", "above: 0.1")
    return SimpleNamespace(place=place, invoke=invoke, run=run)


def columns(made, name):
    rows = pq.read_table(made.place / name / "frames.parquet")
    return {one: rows[one].to_numpy() for one in ("aligned", "drawn", "cosine")}


def test_a_run_computes_a_metric_with_its_options(made):
    made.run("high", "above: 0.8")
    for name, above in (("low", 0.1), ("high", 0.8)):
        found = columns(made, name)
        np.testing.assert_array_equal(found["aligned"], found["cosine"] > above)
        result = json.loads((made.place / name / "result.json").read_text())
        metrics = result["config"]["evaluation"]["metrics"]
        assert metrics == ["dnll", "direction_cos", "drawn", {"name": "aligned", "above": above}]


def test_comparing_uses_the_options_of_the_runs_and_withholds_where_they_differ(made):
    made.run("high again", "above: 0.8", "--set", "seeds=[7]")
    made.run("other", "above: 0.1", "--set", "predictor=persistence")
    places = [made.place / name for name in ("low", "high again", "other")]
    text = made.invoke("compare", *places, "--format", "csv")
    rows = {one["run"]: one for one in csv.DictReader(io.StringIO(text)) if one["split"] == "eval"}
    assert rows["high again"]["aligned_difference_verdict"] == "withheld"
    assert rows["high again"]["aligned_difference_reason"] == "its options are not the same"
    assert rows["other"]["aligned_difference_verdict"] != "withheld"
    eval_rows = {}
    for name in ("low", "other"):
        table = pq.read_table(made.place / name / "frames.parquet")
        inside = np.array(table["split"].to_pylist()) == "eval"
        eval_rows[name] = table["aligned"].to_numpy()[inside].mean()
    expected = eval_rows["other"] - eval_rows["low"]
    assert float(rows["other"]["aligned_difference"]) == pytest.approx(expected)


def test_a_wrong_option_of_a_metric_is_named_before_anything_is_computed(made):
    text = made.invoke(
        *SMALL, "--set", "evaluation.metrics=[{name: aligned, abov: 1}]", "--out",
        made.place / "never", code=2,
    )  # fmt: skip
    assert "'abov' is no option of the metric 'aligned'." in text
    assert "Did you mean 'above'?" in text
    assert not (made.place / "never").exists()


def test_a_metric_is_named_once(made):
    text = made.invoke(*SMALL, "--set", "evaluation.metrics=[dnll, {name: dnll}]", code=2)
    assert "names one of them twice" in text


def test_a_metric_that_draws_gives_the_same_again(made):
    made.run("again", "above: 0.1")
    np.testing.assert_array_equal(columns(made, "again")["drawn"], columns(made, "low")["drawn"])


def test_run_and_show_print_through_a_reporter_with_its_options(made):
    result = json.loads((made.place / "low" / "result.json").read_text())
    (value,) = (
        one["value"]
        for one in result["horizons"][0]["figures"]
        if (one["split"], one["name"]) == ("eval", "dnll")
    )
    assert made.invoke("show", made.place / "low", "--reporter", LINE) == f"gain: {value:.6f}\n"
    assert made.run("low", "above: 0.1", "--reporter", LINE).endswith(f"gain: {value:.6f}\n")
    shown = made.invoke("show", made.place / "low", "--reporter", "line")
    assert shown == f"value: {value:.6f}\n"


@pytest.mark.parametrize(
    ("reporter", "message"),
    [
        ("{name: line, wrod: gain}", "'wrod' is no option of the reporter 'line'."),
        ("lin", "There is no reporter called 'lin'."),
        ("[line]", "--reporter '[line]' names no component."),
    ],
)
def test_a_wrong_reporter_is_named_before_anything_is_computed(made, reporter, message):
    words = ("--reporter", reporter, "--out", made.place / "none")
    text = made.invoke(*SMALL, *words, code=2)
    assert message in text
    assert not (made.place / "none").exists()
