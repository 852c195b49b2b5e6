"""figures.csv holds every figure of a run once, with what it is of."""

import csv
import io
import math
import sys

import pytest

from latentbench.errors import UsageError
from latentbench.results.figures import Figures, median_gap_at
from latentbench.results.schema import DepthGap, Figure, GapInterval, RolloutFigures

HEADER = (
    "run,encoder,corpus,predictor,ms,k,split,slice,figure,value,low,high,seed_error,"
    "n,speakers,unit,better"
)


def with_figure(result, **given):
    facts = {"split": "eval", "slice": "all", "n": 5, "better": "lower", "unit": "nats/frame"}
    first = result.horizons[0]
    figure = Figure(**facts | given)
    changed = first.model_copy(update={"figures": (*first.figures, figure)})
    return result.model_copy(update={"horizons": (changed, *result.horizons[1:])})


def read(result):
    return list(csv.DictReader(io.StringIO(Figures.of(result, "mine").to_csv())))


def test_context_capacity_and_x_gain_have_rows_with_their_intervals(make_result):
    result = make_result()
    for name in ("dnll_context", "dnll_capacity", "x_gain"):
        result = with_figure(result, name=name, value=-1.25, low=-2.0, high=-0.5, speakers=4)
    assert Figures.of(result, "mine").to_csv().splitlines()[0] == HEADER
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
            "seed_error": "",
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
        row.figure: row for row in Figures.of(result.model_copy(update={"horizons": (first,)}))
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
    rows = Figures.of(result.model_copy(update={"horizons": horizons}))
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
    text = Figures.of(
        with_figure(make_result(), name="mine", slice=name, value=1.0), "=1+1"
    ).to_csv()
    assert not any(cell.startswith("=") for row in csv.reader(io.StringIO(text)) for cell in row)


def test_all_that_tables_show_of_a_rollout_and_of_seeds_is_there(make_result):
    """What stands on the terminal can be had by a program too."""
    depth = DepthGap(depth=8, n=16, median_gap=2.5, mean_gap=9.0, non_finite=0)
    result = with_figure(make_result(), name="mine", value=1.0, seed_error=0.25)
    rollout = result.horizons[2].rollout.model_copy(update={"depths": (depth,)})
    horizon = result.horizons[2].model_copy(update={"rollout": rollout})
    figures = Figures.of(result.model_copy(update={"horizons": (result.horizons[0], horizon)}))
    assert figures.find("mine", 1).seed_error == 0.25
    found = figures.find(median_gap_at(8), 4)
    assert (found.value, found.n, found.unit) == (2.5, 16, "nats/frame")
    assert (figures.find("rollout_non_finite", 4).value, horizon.rollout.non_finite) == (1, 1)


def test_rows_are_chosen_by_one_value_or_several(make_result):
    figures = Figures.of(make_result(), "mine")
    chosen = figures.where(split="eval", figure=["dnll", "nll"], k=(1, 8))
    assert [(row.k, row.figure) for row in chosen] == [
        (1, "nll"), (1, "dnll"), (8, "nll"), (8, "dnll"),
    ]  # fmt: skip
    assert chosen.find("dnll", 1).value == chosen.find("dnll", 1, run="mine").value == -185.44
    assert chosen.find("dnll", 2) is None
    with pytest.raises(UsageError, match="no column 'figures'") as told:
        figures.where(figures="dnll")
    assert told.value.hint == "Did you mean 'figure'?"


def test_of_several_runs_one_must_be_named(make_result):
    one, other = (Figures.of(make_result(), name) for name in ("one", "other"))
    both = Figures([*one, *other])
    assert repr(both) == f"Figures({2 * len(one)} rows of 2 runs)"
    assert both.find("dnll", 1, run="other").run == "other"
    with pytest.raises(UsageError, match="figures of several runs") as told:
        both.find("dnll", 1)
    assert told.value.hint == "Known: one, other."


def test_data_frames_hold_what_the_csv_does(make_result):
    figures = Figures.of(with_figure(make_result(), name="mine", value=1.0, low=0.5, high=1.5), "a")
    table = figures.to_arrow()
    assert table.column_names == HEADER.split(",")
    assert [str(one) for one in table.schema.types].count("double") == 5
    assert repr(table.to_pylist()) == repr([vars(row) for row in figures])
    frame = figures.to_pandas()
    assert list(frame.columns) == HEADER.split(",")
    assert frame.low.notna().sum() == 1
    assert frame.query("figure == 'mine'").high.tolist() == [1.5]
    polars = figures.to_polars()
    assert polars.columns == HEADER.split(",")
    assert polars["low"].null_count() == len(figures) - 1


def test_a_table_without_rows_keeps_its_columns():
    assert str(Figures([]).to_arrow().schema.field("low").type) == "double"
    assert Figures([]).to_csv() == f"{HEADER}\n"


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_library_that_is_not_there_is_named(make_result, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"pip install 'latentbench\[{name}\]'"):
        getattr(Figures.of(make_result()), f"to_{name}")()


def test_a_gain_on_x_at_one_frame_is_a_rate_and_no_other_is(make_result):
    given = {"name": "gain", "value": 2.0, "low": -1.0, "high": 5.0, "speakers": 4}
    result = with_figure(make_result(), **given | {"better": "higher"})
    task = {"target": "x"}
    of_x = result.model_copy(update={"config": result.config | {"task": task}})
    (rate,) = Figures.of(of_x).where(figure="bits_per_second")
    # 2 nats 12.5 times a second
    assert rate.value == pytest.approx(2.0 * 12.5 / math.log(2.0))
    assert (rate.low, rate.high) == pytest.approx((-rate.value / 2.0, 2.5 * rate.value))
    assert (rate.unit, rate.better, rate.k, rate.n, rate.speakers) == ("bits/s", "higher", 1, 5, 4)
    assert not len(Figures.of(result).where(figure="bits_per_second"))  # of changes
    later = result.horizons[0].model_copy(update={"k": 2, "milliseconds": 160.0})
    stale = of_x.model_copy(
        update={"horizons": (later.model_copy(update={"figures": of_x.horizons[0].figures}),)}
    )
    assert not len(Figures.of(stale).where(figure="bits_per_second"))
