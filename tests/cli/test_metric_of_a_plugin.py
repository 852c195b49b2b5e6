"""Metrics of an inline plugin, from the command line to the intervals in the tables."""

import csv
import io
import json
import math
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scipy import stats

from latentbench.cli import main

PLUGIN = """
from types import MappingProxyType

import numpy as np

from latentbench.hookspecs import hookimpl
from latentbench.metrics import MeanMetric, Metric
from latentbench.metrics.statistics import OfFrames
from latentbench.specs import MetricSpec


def miss(prediction):
    return (prediction.target.double() - prediction.model.mean).square().sum(-1).sqrt()


class Miss(MeanMetric):
    name = "miss"
    unit = "latent units"
    better = "lower"
    columns = MappingProxyType({"miss": miss})


class MiddleMiss(Metric):
    name = "middle_miss"
    better = "lower"
    columns = MappingProxyType({"miss": miss})
    statistic = OfFrames(("miss",), lambda columns: np.median(columns["miss"]))


@hookimpl
def latentbench_metrics():
    for cls in (Miss, MiddleMiss):
        yield MetricSpec(name=cls.name, summary="for tests", factory=f"{__name__}:{cls.__name__}")
"""
SMALL = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1", "--device", "cpu"),
    *("--set", "corpus.utterances=1", "--set", "corpus.frames=40", "--set", "corpus.dim=3"),
    *("--set", "utterances.min_seconds=0", "--set", "controls=[]", "--set", "task.slices=[all]"),
    *("--set", "evaluation.metrics=[dnll, miss, middle_miss]", "--set", "rollout.utterances=0"),
)
NAMES = ("miss", "middle_miss")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs of different predictors on the same 10 eval speakers."""
    place = tmp_path_factory.mktemp("made")
    plugin = place / "plugin.py"
    plugin.write_text(PLUGIN)

    def invoke(*arguments):
        words = [str(one) for one in arguments]
        found = CliRunner().invoke(main, words, env={"COLUMNS": "120"})
        assert found.exit_code == 0, found.output
        return found.stdout

    def run(predictor, *more):
        return invoke(
            *("--plugin", plugin, *SMALL, "--predictor", predictor, *more),
            *("--out", place / predictor, "--cache", place / "cache"),
        )

    half = ("--set", "corpus.speakers=20", "--set", "split.eval_fraction=0.5")
    table = run("linear", *half)
    run("persistence", *half)
    lonely = run("marginal", "--set", "corpus.speakers=4", "--set", "split.eval_fraction=0.25")
    return SimpleNamespace(
        place=place, plugin=plugin, table=table, lonely=lonely, run=run, invoke=invoke
    )


def misses(made, predictor):
    """The scores of each eval speaker."""
    rows = pq.read_table(made.place / predictor / "frames.parquet").to_pylist()
    found = {}
    for row in rows:
        if row["split"] == "eval":
            found.setdefault(row["speaker"], []).append(row["miss"])
    assert len(found) == 10
    return {speaker: np.array(values) for speaker, values in found.items()}


def jackknife(figure, speakers):
    """Value and bounds: Student's t times the error of leaving out one speaker at a time."""
    count = len(speakers)
    without = [figure([one for one in speakers if one != left]) for left in speakers]
    error = math.sqrt((count - 1) / count * np.sum((without - np.mean(without)) ** 2))
    value = figure(list(speakers))
    t = stats.t.ppf(0.975, count - 1)
    return value, value - t * error, value + t * error


def bootstrap(figure, speakers):
    """Value and bounds: expanded percentiles of speakers drawn with replacement."""
    speakers, count = list(speakers), len(speakers)
    rng = np.random.default_rng(7)
    draws = [figure([speakers[g] for g in rng.integers(0, count, count)]) for _ in range(2_000)]
    tail = stats.norm.cdf(-stats.t.ppf(0.975, count - 1) * math.sqrt(count / (count - 1)))
    return (figure(speakers), *np.quantile(draws, [tail, 1 - tail]))


def figures(made, predictor):
    result = json.loads((made.place / predictor / "result.json").read_text("utf-8"))
    (horizon,) = result["horizons"]
    return {one["name"]: one for one in horizon["figures"] if one["split"] == "eval"}


def test_a_mean_has_the_interval_of_a_bootstrap_over_speakers(made):
    of_speaker = misses(made, "linear")

    def mean(speakers):
        return np.concatenate([of_speaker[one] for one in speakers]).mean()

    value, low, high = bootstrap(mean, of_speaker)
    found = figures(made, "linear")["miss"]
    assert found["value"] == pytest.approx(value, rel=1e-12)
    # Two bootstraps of one sample: the quantiles differ by what 2,000 draws leave open.
    assert [found["low"], found["high"]] == pytest.approx([low, high], abs=0.1 * (high - low))
    assert found["speakers"] == 10


def test_any_other_figure_has_that_of_the_jackknife(made):
    of_speaker = misses(made, "linear")

    def median(speakers):
        return np.median(np.concatenate([of_speaker[one] for one in speakers]))

    found = figures(made, "linear")["middle_miss"]
    expected = jackknife(median, of_speaker)
    assert [found["value"], found["low"], found["high"]] == pytest.approx(expected, rel=1e-9)


def test_the_table_shows_both_intervals(made):
    text = " ".join(made.table.split())
    for name in NAMES:
        one = figures(made, "linear")[name]
        assert f"{one['value']:.4f} {one['low']:.4f} to {one['high']:.4f}" in text
    assert "no interval" not in text


def test_the_table_says_why_there_is_no_interval(made):
    reason = "one speaker: how speakers differ is unknown"
    assert f"k=1: eval: no interval of any figure: {reason}" in " ".join(made.lonely.split())
    assert all(one["interval_note"] == reason for one in figures(made, "marginal").values())


def paired(text):
    rows = csv.DictReader(io.StringIO(text))
    (row,) = (one for one in rows if (one["run"], one["split"]) == ("persistence", "eval"))
    return row


def test_comparing_pairs_them_by_speaker(made):
    runs = (made.place / "linear", made.place / "persistence")
    text = made.invoke("--plugin", made.plugin, "compare", *runs, "--format", "csv")
    found = paired(text)
    first, second = (misses(made, one) for one in ("linear", "persistence"))

    def apart(by):
        def figure(speakers):
            one, other = (np.concatenate([of[s] for s in speakers]) for of in (second, first))
            return by(one) - by(other)

        return figure

    expected = jackknife(apart(np.median), first)
    names = ("middle_miss_difference", "middle_miss_difference_low", "middle_miss_difference_high")
    assert [float(found[name]) for name in names] == pytest.approx(expected, rel=1e-9)
    value, low, high = bootstrap(apart(np.mean), first)
    assert float(found["miss_difference"]) == pytest.approx(value, rel=1e-9)
    assert float(found["miss_difference_low"]) == pytest.approx(low, abs=0.1 * (high - low))
    assert float(found["miss_difference_high"]) == pytest.approx(high, abs=0.1 * (high - low))
    for name in NAMES:
        assert found[f"{name}_difference_verdict"] == "distinguishable"
        assert found[f"{name}_difference_speakers"] == "10"
    assert found["miss_difference_unit"] == "latent units"
    shown = " ".join(made.invoke("--plugin", made.plugin, "compare", *runs, "--full").split())
    assert f"{value:.4f} * {float(found['miss_difference_low']):.4f} to" in shown


def test_comparing_without_the_plugin_says_what_is_missing(made):
    found = paired(
        made.invoke("compare", made.place / "linear", made.place / "persistence", "--format", "csv")
    )
    for name in NAMES:
        assert found[f"{name}_difference_verdict"] == "no interval"
        reason = f"no metric '{name}' is installed or given by --plugin"
        assert found[f"{name}_difference_reason"] == reason
    assert found["dnll_difference_verdict"] == "distinguishable"


def test_comparing_with_a_plugin_that_cannot_run_says_what_it_needs(made):
    needy = made.place / "needy.py"
    needy.write_text(PLUGIN.replace('summary="', 'requires=("not-there>=1",), summary="'))
    runs = (made.place / "linear", made.place / "persistence")
    found = paired(made.invoke("--plugin", needy, "compare", *runs, "--format", "csv"))
    assert found["miss_difference_verdict"] == "no interval"
    assert "cannot run here: not-there>=1 not installed" in found["miss_difference_reason"]
    assert found["dnll_difference_verdict"] == "distinguishable"


def test_units_of_other_latents_are_not_compared(made):
    scaled = ("--set", "corpus.speakers=20", "--set", "split.eval_fraction=0.5")
    made.run("mdn", *scaled, "--steps", "2", "--set", "predictor.width=4",
             "--transform", "standardize")  # fmt: skip
    runs = (made.place / "mdn", made.place / "persistence")
    found = paired(made.invoke("--plugin", made.plugin, "compare", *runs, "--format", "csv"))
    assert found["miss_difference_verdict"] == "withheld"
    assert "units of the latents" in found["miss_difference_reason"]
    assert found["middle_miss_difference_verdict"] != "withheld"
    assert found["dnll_difference_unit"] == "nats/dim"
