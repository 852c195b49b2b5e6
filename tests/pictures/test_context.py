"""The gain by the length of the context: what is drawn, and when there is nothing to draw."""

import pytest

from latentbench.errors import UsageError
from latentbench.pictures.charts import charts_of
from latentbench.pictures.drawing import draw
from latentbench.pictures.rows import rows_of


@pytest.fixture
def of_lengths(runs):
    """The first run as one of 160 ms of context, and the same with 320 and 80 ms."""

    def of(label, frames):
        config = runs[0].result.config
        task = config["task"] | {"context_frames": frames}
        result = runs[0].result.model_copy(update={"config": config | {"task": task}})
        return type(runs[0])(label, runs[0].folder, result, runs[0].utterances, runs[0].audio)

    return [runs[0], of("longer", 4), of("shorter", 1)]


def test_a_curve_is_of_one_predictor_and_staleness(of_lengths):
    rows = rows_of("context", of_lengths)
    assert {row["context_ms"] for row in rows} == {80.0, 160.0, 320.0}
    assert {row["series"] for row in rows} == {
        "latents, linear, 80 ms stale",
        "latents, linear, 160 ms stale",
    }


def test_lengths_stand_across_in_order(of_lengths):
    gain, r2i = draw("context", of_lengths).axes
    lines = [line for line in gain.lines if len(line.get_xdata()) == 3]
    assert all(list(line.get_xdata()) == sorted(line.get_xdata()) for line in lines)
    assert [text.get_text() for text in r2i.get_xticklabels()] == ["80", "160", "320"]
    assert r2i.get_xlabel() == "length of the context, ms"


def test_a_report_has_the_same_rows(of_lengths):
    charts = charts_of("context", of_lengths)
    assert [one.title for one in charts.panels] == ["gain by length", "R²_I by length"]
    spec = charts.panels[0].spec
    drawn = spec["datasets"][spec["data"]["name"]]
    assert sorted(row["context_ms"] for row in drawn) == [80.0, 80.0, 160.0, 160.0, 320.0, 320.0]


def test_one_length_makes_no_curve(runs):
    assert charts_of("context", runs) is None
    with pytest.raises(UsageError, match="Contexts of two lengths are needed"):
        draw("context", runs)
