"""The report as its reader has it: opened from disk in a browser, and read as text."""

import builtins
import csv
import html
import io
import json
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

import latentbench as lb
from latentbench.pictures.charts import charts_of
from latentbench.pictures.rows import PICTURES, rows_of, runs_to_draw
from latentbench.reports.rollout import words_of_rollout

TARGETS = {"delta": "Δ", "x": "x"}

HOSTILE = "<img src=x onerror=alert(1)>&\"'</script>".replace("/", "")
# A mark of the chart: what it was drawn from, and where it is. Axes and zero lines are left out.
MARKS = """
const found = [];
const walk = (items) => items.forEach((one) => {
  if (one.items) walk(one.items);
  else if (one.datum && one.mark.role === 'mark' && !('zero' in one.datum))
    found.push([one.mark.marktype, one.datum, one.x, one.y, one.fill]);
});
const view = document.querySelector(`[data-chart="${arguments[0]}"]`).view;
walk(view.scenegraph().root.items);
return [found, [-10, 10].map(view.scale('y'))];
"""


@pytest.fixture(scope="session")
def compared(folders, tmp_path_factory):
    """The runs, one of them by a hostile name, and their report."""
    root = tmp_path_factory.mktemp("report")
    shutil.copytree(folders[0], root / HOSTILE)
    runs = [root / HOSTILE, folders[0], folders[1]]
    return SimpleNamespace(folders=runs, file=lb.report(runs, root / "report.html"))


@pytest.fixture(scope="session")
def opened(browser, compared):
    """The browser with the report in it, drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    for log in ("performance", "browser"):
        browser.get_log(log)  # what is there is of the page before
    browser.set_window_size(1400, 1000)
    browser.get(compared.file.as_uri())
    drawn = "return Number(document.body.dataset.drawn)"
    count = WebDriverWait(browser, 20, 0.05).until(lambda one: one.execute_script(drawn))
    assert count == len(browser.find_elements("css selector", "[data-chart] svg"))
    return browser


def test_it_opens_from_disk_without_an_error_and_asks_nothing_of_the_network(opened, compared):
    messages = [json.loads(one["message"])["message"] for one in opened.get_log("performance")]
    asked = {
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {compared.file.as_uri()}
    assert opened.get_log("browser") == []


def test_the_policy_of_the_page_refuses_what_its_names_might_ask(opened):
    assert opened.execute_script("return document.querySelectorAll('img').length") == 0
    scripted = """const one = document.createElement('script'); one.textContent = 'window.ran = 1';
    document.body.append(one); return window.ran ?? 'refused'"""
    fetched = "fetch('http://127.0.0.1:9/').catch(() => 0).then(() => arguments[0]('done'))"
    assert opened.execute_script(scripted) == "refused"
    assert opened.execute_async_script(fetched) == "done"
    told = [one["message"] for one in opened.get_log("browser")]
    assert len(told) >= 2
    assert all("Content Security Policy" in one or "Fetch API" in one for one in told), told


def test_the_marks_of_the_gain_are_where_the_tidy_table_says(opened, compared):
    marks, (bottom, top) = opened.execute_script(MARKS, "gain-1")
    found = {
        (one["run"], one["ms"]): (one["value"], y, fill)
        for kind, one, _, y, fill in marks
        if kind == "symbol"
    }
    tidy = lb.read(compared.folders[0], progress=False).figures
    rows = tidy.where(split="eval", slice="all", figure="gain").rows
    assert len(found) == 2 * len(rows) > 0
    for name in (HOSTILE, compared.folders[1].name):
        for row in rows:
            label = next(run for run, _ in found if run.endswith(name))
            value, y, _ = found[label, row.ms]
            assert value == pytest.approx(row.value, rel=1e-6)
            assert y == pytest.approx(bottom + (top - bottom) * (row.value + 10) / 20, abs=1e-3)


@pytest.mark.parametrize(("what", "kind"), [("split", "rect"), ("speakers", "symbol")])
def test_every_row_of_a_picture_is_a_mark(opened, compared, what, kind):
    runs = runs_to_draw(compared.folders)
    rows = [row for row in rows_of(what, runs) if row.get("part") not in ("dnll", "floor")]
    panels = opened.find_elements("css selector", f"#{what} [data-chart]")
    names = [one.get_attribute("data-chart") for one in panels]
    drawn = [mark for name in names for mark in opened.execute_script(MARKS, name)[0]]
    values = [one["value"] for found, one, *_ in drawn if found == kind]
    assert sorted(values) == pytest.approx(sorted(row["value"] for row in rows), rel=1e-6)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(opened, width, dark):
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide = opened.execute_async_script(
        "requestAnimationFrame(() => setTimeout(arguments[0], 100, document.body.scrollWidth))"
    )
    style = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    ink, page = (brightness(one) for one in opened.execute_script(style))
    assert wide <= width
    assert (ink > page) is dark
    assert abs(ink - page) > 150


def brightness(colour):
    numbers = [float(one) for one in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3


def test_the_table_is_sorted_by_a_heading_and_narrowed_by_words(opened):
    find = opened.find_element
    value = 'Array.from(document.querySelectorAll("#tidy tbody tr:not([hidden])"))'
    values = f"return {value}.map((row) => Number(row.cells[9].dataset.sort))"
    heading = find("xpath", "//table[@id='tidy']//th[.='value']")
    opened.execute_script("arguments[0].firstElementChild.click()", heading)
    up = opened.execute_script(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    opened.execute_script("arguments[0].firstElementChild.click()", heading)
    assert opened.execute_script(values) == up[::-1]
    assert up == sorted(up)
    find("id", "filter").send_keys("r2i 80")
    few = opened.execute_script(f"return {value}.map((row) => row.cells[8].textContent)")
    assert set(few) == {"r2i"}


class Reader(HTMLParser):
    """What a page holds: its headings, its tags and its data."""

    def __init__(self, page):
        super().__init__()
        self.headings, self.tags, self.data, self._within = [], [], {}, ("", {})
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._within = (tag, dict(attrs))

    def handle_data(self, data):
        tag, attributes = self._within
        if tag in ("h1", "h2", "h3") and data.strip():
            self.headings.append(int(tag[1]))
        if tag == "script" and "id" in attributes:
            self.data[attributes["id"]] = json.loads(data)

    def handle_endtag(self, _):
        self._within = ("", {})


@pytest.fixture(scope="session")
def read(compared):
    return Reader(compared.file.read_text("utf-8"))


def test_headings_go_down_one_level_at_a_time(read):
    assert read.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(read.headings, read.headings[1:]))  # noqa: B905 - pairs


def test_the_files_to_save_are_every_figure(read, compared):
    runs = runs_to_draw(compared.folders)
    rows = [row for run in runs for row in lb.Figures.of(run.result, run.label)]
    told = list(csv.DictReader(io.StringIO(read.data["figures-csv"])))
    assert [float(one["value"]) for one in told] == pytest.approx(
        [r.value for r in rows], nan_ok=True
    )
    assert read.data["figures-json"]["figure"] == [row.figure for row in rows]


def test_it_is_small_and_the_same_each_time(compared, tmp_path):
    again = lb.report(compared.folders, tmp_path / "again.html").read_bytes()
    assert again == compared.file.read_bytes()
    assert len(again) < 5_000_000


def test_one_run_has_no_comparison(folders, invoke, tmp_path):
    out = tmp_path / "one.html"
    ended = invoke("report", folders[0], "--out", out, "--json")
    page = out.read_text("utf-8")
    assert json.loads(ended.stdout)["bytes"] == out.stat().st_size
    assert "Side by side" not in page
    assert "What the context is worth" in page


def test_every_picture_of_papers_is_one_of_reports(folders):
    runs = runs_to_draw(folders)
    of_one_context = PICTURES.keys() - {"context"}
    assert all(charts_of(what, runs).panels for what in of_one_context)


def test_nll_by_distance_is_that_of_explain(folders, tmp_path):
    cache = folders[0].parent / "cache"
    out = tmp_path / "explained.html"
    lb.report([folders[0]], out, explain=True, cache=cache, progress=False)
    found = lb.read(folders[0], cache=cache, progress=False).explain(split="eval").record
    spec = Reader(out.read_text("utf-8")).data["distance-1"]
    (values,) = spec["datasets"].values() if "datasets" in spec else [spec["data"]["values"]]
    told = {(one["band"], one["of"]): one["nll"] for one in values}
    wanted = {
        (f"{100 * one.low:g}-{100 * one.high:g}", of): getattr(one, of)
        for one in found.bins
        for of in ("median", "mean")
        if one.n
    }
    assert told == pytest.approx(wanted, rel=1e-6)
    assert html.escape(found.advice, quote=False) in out.read_text("utf-8")


def test_until_when_a_model_lives_is_what_its_rollout_says(folders, tmp_path):
    cache = folders[0].parent / "cache"
    out = tmp_path / "rolled.html"
    lb.report(folders, out, rollout=True, cache=cache, progress=False)
    page = html.unescape(out.read_text("utf-8"))
    for folder in folders:
        found = lb.read(folder, cache=cache, progress=False).rollout(mode="sample").record
        for curve in found.curves:
            named = f"k = {curve.k} ({curve.milliseconds:g} ms), target {TARGETS[curve.target]}"
            (said,) = (one for one in words_of_rollout(found) if one.startswith(named))
            assert said in page
            if curve.dead_at is not None and curve.stable_milliseconds:
                assert f"stable for {curve.stable_milliseconds:g} ms" in said
    lb.report(folders, out, cache=cache, progress=False)
    assert "Until when it lives" not in out.read_text("utf-8")


def test_depths_that_are_not_finite_are_crosses(monkeypatch):
    from latentbench.pictures import charts

    place = {"run": "r", "ms": 80.0, "k": 1, "n": 3, "non_finite": 2}
    rows = [
        {**place, "depth": 1, "value": 2e6, "diverged": False},
        {**place, "depth": 2, "value": None, "diverged": True},
    ]
    monkeypatch.setattr(charts, "rows_of", lambda *_: rows)
    made = charts_of("rollout", [])
    assert "not finite" in [one.label for one in made.keys]
    assert '"symlog"' in json.dumps(made.panels[0].spec)


def test_without_altair_the_extra_is_named(folders, monkeypatch):
    from latentbench.pictures import page, report

    real = builtins.__import__

    def without(name, *rest):
        if name == "altair":
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    page.bundle.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(lb.UsageError, match=r"pip install 'latentbench\[report\]'"):
        report.report_of(folders)


def test_which_run_cannot_be_explained_is_said(folders, sampled, invoke, tmp_path):
    cache = ("--cache", folders[0].parent / "cache", "--out", tmp_path / "x.html")
    ended = invoke("report", sampled, folders[0], "--explain", *cache)
    assert ended.exit_code == 2
    assert f"'{sampled}': The run kept no 'nll' per frame" in ended.stderr
