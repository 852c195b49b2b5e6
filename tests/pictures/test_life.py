"""What the frames of a rollout do, as a reader of the report sees it."""

import pytest
from selenium.webdriver.support.ui import WebDriverWait

import latentbench as lb
from latentbench.pictures import charts
from latentbench.pictures.rows import rows_of, runs_to_draw

# The points of a chart: what each was drawn from, how large it is, and where it is by the axis.
POINTS = """
const found = [];
const view = document.querySelector(`[data-chart="${arguments[0]}"]`).view;
const walk = (items) => items.forEach((one) => {
  if (one.items) walk(one.items);
  else if (one.mark.marktype === 'symbol' && one.mark.role === 'mark')
    found.push([one.datum, one.shape, view.scale('y').invert(one.y)]);
});
walk(view.scenegraph().root.items);
return found;
"""


@pytest.fixture(params=["by samples", "by its mean"])
def shown(request, browser, folders, sampled, tmp_path):
    """How it was rolled out, the run, and the browser with its report."""
    folder = sampled if request.param == "by samples" else folders[0]
    browser.get(lb.report([folder], tmp_path / "one.html").as_uri())
    drawn = "return Number(document.body.dataset.drawn)"
    WebDriverWait(browser, 20, 0.05).until(lambda one: one.execute_script(drawn))
    return request.param, folder, browser


def test_every_figure_is_drawn_by_depth_and_a_square_where_it_is_dead(shown):
    by, folder, browser = shown
    rows = rows_of("life", runs_to_draw([folder]))
    places = browser.find_elements("css selector", "#life [data-chart]")
    titles = [one.text for one in browser.find_elements("css selector", "#life figcaption")]
    assert titles == [f"{one}, {by}" for one in ("movement", "variance", "energy distance")]
    for place, title in zip(places, titles, strict=True):
        own = [row for row in rows if title.startswith(row["figure"])]
        points = browser.execute_script(POINTS, place.get_attribute("data-chart"))
        at = {(one["ms"], one["depth"]): y for one, shape, y in points if shape != "square"}
        value = {(row["ms"], row["depth"]): row["value"] for row in own}
        assert at == pytest.approx(value, abs=1e-3)
        squares = {(one["ms"], one["depth"]) for one, shape, _ in points if shape == "square"}
        dead = {(row["ms"], row["depth"]) for row in own if row["dead"]}
        assert squares == (set() if title.startswith("energy") else dead)


def test_without_a_density_there_is_no_gap_to_draw_and_no_error(shown):
    by, _, browser = shown
    assert browser.get_log("browser") == []
    assert len(browser.find_elements("id", "rollout")) == (by == "by its mean")
    assert by in browser.find_element("id", "says").text


@pytest.mark.parametrize(("top", "marks"), [(30.0, 3), (2e4, 6), (1e11, 5)])
def test_an_axis_over_many_powers_of_ten_is_marked_at_few_of_them(monkeypatch, top, marks):
    row = {"run": "r", "ms": 80.0, "k": 1, "by": "sample", "n": 3, "figure": "variance"}
    states = {"dead": False, "diverged": False}
    rows = [{**row, "depth": depth, "value": value} | states for depth, value in ((1, 1), (2, top))]
    monkeypatch.setattr(charts, "rows_of", lambda *_: rows)
    (panel,) = charts.charts_of("life", []).panels
    (y,) = (
        layer["encoding"]["y"] for layer in panel.spec["layer"] if layer["mark"]["type"] == "line"
    )
    assert y["scale"]["type"] == "symlog"
    found = y["axis"]["values"]
    assert found[:2] == [0, 1]
    assert len(found) == marks
    assert found[-1] <= top
