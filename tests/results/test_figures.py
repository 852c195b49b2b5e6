"""figures.csv holds every figure of a run once, with what it is of."""

import csv
import io
import math

import pytest

from latentbench.results.figures import figure_rows, figures_csv
from latentbench.results.schema import Figure, GapInterval, RolloutFigures

HEADER = (
    "run,encoder,corpus,predictor,ms,k,split,slice,figure,value,low,high,n,speakers,unit,better"
)


def with_figure(result, **given):
    facts = {"split": "eval", "slice": "all", "n": 5, "better": "lower", "unit": "nats/frame"}
    first = result.horizons[0]
    figure = Figure(**facts | given)
    changed = first.model_copy(update={"figures": (*first.figures, figure)})
    return result.model_copy(update={"horizons": (changed, *result.horizons[1:])})


def read(result):
    return list(csv.DictReader(io.StringIO(figures_csv(result, "mine"))))


def test_context_capacity_and_x_gain_have_rows_with_their_intervals(make_result):
    result = make_result()
    for name in ("dnll_context", "dnll_capacity", "x_gain"):
        result = with_figure(result, name=name, value=-1.25, low=-2.0, high=-0.5, speakers=4)
    assert figures_csv(result, "mine").splitlines()[0] == HEADER
    found = {row["figure"]: row for row in read(result)}
    for name in ("dnll_context", "dnll_capacity", "x_gain"):
        assert found[name] == {
            "run": "mine",
            "encoder": "mimi",
            "corpus": "librispeech train-clean-100",
            "predictor": "mdn",
            "ms": "80.0",
            "k": "1",
            "split": "eval",
            "slice": "all",
            "figure": name,
            "value": "-1.25",
            "low": "-2.0",
            "high": "-0.5",
            "n": "5",
            "speakers": "4",
            "unit": "nats/frame",
            "better": "lower",
        }


def test_every_figure_of_the_result_is_there_once_in_full(make_result):
    result = make_result(slices=("all", "high_energy"))
    rows = read(result)
    keys = [(row["k"], row["split"], row["slice"], row["figure"]) for row in rows]
    assert len(set(keys)) == len(keys)
    for horizon in result.horizons:
        for figure in horizon.figures:
            key = (str(horizon.k), figure.split, figure.slice, figure.name)
            row = rows[keys.index(key)]
            assert float(row["value"]) == figure.value
            assert (row["low"], row["high"]) == ("", "")


def test_the_gap_of_a_rollout_has_rows_with_its_intervals(make_result):
    result = make_result()
    rollout = RolloutFigures(
        mean_gap=math.inf,
        median_gap=3.0,
        n=70,
        non_finite=1,
        utterances=2,
        speakers=2,
        median_interval=GapInterval(low=1.0, high=5.0),
    )
    first = result.horizons[0].model_copy(update={"rollout": rollout})
    found = {
        row.figure: row for row in figure_rows(result.model_copy(update={"horizons": (first,)}), "")
    }
    mean, median = found["rollout_gap"], found["rollout_gap_median"]
    assert (mean.value, mean.low, mean.n, mean.speakers) == (math.inf, None, 70, 2)
    assert (median.value, median.low, median.high, median.split) == (3.0, 1.0, 5.0, "eval")


def test_a_horizon_that_failed_is_there_with_n_0(make_result):
    result = make_result()
    failed = result.horizons[2].model_copy(
        update={"status": "failed", "figures": (), "rollout": None, "scored": {}, "seeds": ()}
    )
    horizons = (*result.horizons[:2], failed, result.horizons[3])
    rows = figure_rows(result.model_copy(update={"horizons": horizons}), "")
    there = [(row.split, row.figure) for row in rows if row.k == 1 and row.figure in "nll dnll"]
    blank = [row for row in rows if row.k == 4 and row.figure in "nll dnll"]
    assert [(row.split, row.figure) for row in blank] == there != []
    assert all(math.isnan(row.value) and row.n == 0 for row in blank)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_written_out(make_result, value):
    rows = read(with_figure(make_result(), name="mine", value=value))
    (row,) = (one for one in rows if one["figure"] == "mine")
    assert row["value"] == str(value)


def test_a_slice_named_like_a_formula_is_none_in_a_spreadsheet(make_result):
    name = "speaker:=1+1"
    text = figures_csv(with_figure(make_result(), name="mine", slice=name, value=1.0), "=1+1")
    assert not any(cell.startswith("=") for row in csv.reader(io.StringIO(text)) for cell in row)
