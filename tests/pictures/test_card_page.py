"""The page of a card, and a card in the report of a run, as their reader has them."""

import json
import re
import shutil

import pytest

import latentbench as lb
from latentbench.cards.card import card_in

SPEC = re.compile(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', re.DOTALL)
WIDTH = "return [innerWidth, document.body.scrollWidth]"


@pytest.fixture(scope="session")
def made(folders, tmp_path_factory):
    """A card of the latents of the runs, its page, and a run folder that holds it."""
    root = tmp_path_factory.mktemp("card")
    asked = {"corpus": "world:ar1", "cache": folders[0].parent / "cache", "progress": False}
    run = root / "run"
    shutil.copytree(folders[0], run)
    lb.card("latents", **asked, out=run / "card.json")
    found = lb.card("latents", **asked, out=root / "card.html")
    return found.record, root / "card.html", run


def specs(page):
    return {name: json.loads(text) for name, text in SPEC.findall(page.read_text("utf-8"))}


def rows(spec):
    """The data of a chart, but for its line at zero."""
    return spec["datasets"][spec["data"]["name"]]


def test_a_card_is_read_back_as_it_was_written(made):
    record, _, run = made
    assert card_in(run) == record


def test_the_charts_hold_the_numbers_of_the_record(made):
    record, page, _ = made
    found = specs(page)
    lags = record.statistics.autocorrelation
    assert [one["value"] for one in rows(found["memory-1"])] == pytest.approx(
        [lag.correlation for lag in lags], rel=1e-6
    )
    assert [one["at"] for one in rows(found["memory-1"])] == pytest.approx([one.ms for one in lags])
    assert [one["value"] for one in rows(found["memory-2"])] == pytest.approx(
        [one.gain for one in record.predictable], rel=1e-6
    )
    assert [(one["low"], one["high"]) for one in rows(found["memory-2"])] == [
        pytest.approx((one.low, one.high), rel=1e-6) for one in record.predictable
    ]
    assert rows(found["directions-1"])[-1]["value"] == pytest.approx(1)
    assert sum(one["value"] for one in rows(found["directions-2"])) == pytest.approx(
        record.predictable[0].gain
    )


def test_it_is_the_same_page_each_time(made, tmp_path, folders):
    _, page, _ = made
    asked = {"corpus": "world:ar1", "cache": folders[0].parent / "cache", "progress": False}
    lb.card("latents", **asked, out=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    assert page.stat().st_size < 1_500_000


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_is_drawn_from_disk_and_asks_nothing(browser, made, width, dark):
    from selenium.webdriver.support.ui import WebDriverWait

    _, page, _ = made
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.as_uri())
    drawn = "return Number(document.body.dataset.drawn)"
    assert WebDriverWait(browser, 20, 0.05).until(lambda one: one.execute_script(drawn)) == 4
    assert len(browser.find_elements("css selector", "[data-chart] svg")) == 4
    inside, wide = browser.execute_script(WIDTH)
    assert wide <= inside
    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = {
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert browser.get_log("browser") == []


def test_a_card_in_a_run_folder_is_part_of_its_report(made, folders, tmp_path):
    _, _, run = made
    with_card = lb.report([run, folders[1]], tmp_path / "with.html")
    without = lb.report([folders[1]], tmp_path / "without.html")
    assert "The latents</h2>" in with_card.read_text("utf-8")
    assert specs(with_card).keys() >= {"directions-1", "memory-1"}
    assert "The latents</h2>" not in without.read_text("utf-8")
    how = "latentbench card ENCODER --out RUN/card.json"
    assert how in without.read_text("utf-8")
    assert how not in with_card.read_text("utf-8")
    assert not specs(without).keys() & {"directions-1", "memory-1"}


def test_a_card_is_published_with_its_run(made, tmp_path):
    record, _, run = made
    secret = record.to_json().replace('"options": {}', '"options": {"weights": "/home/me/w.pt"}')
    (run / "card.json").write_text(secret, "utf-8")
    lb.publish(run, tmp_path)
    (run / "card.json").write_text(record.to_json(), "utf-8")
    (sent,) = tmp_path.rglob("card.json")
    assert card_in(sent.parent).options == {"weights": "w.pt"}
    assert card_in(sent.parent).statistics == record.statistics


def test_what_is_no_card_is_said(made, tmp_path):
    _, _, run = made
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "card.json").write_text("{}", "utf-8")
    with pytest.raises(lb.UsageError, match=r"is no card of an encoder.\n.*card ENCODER --out"):
        lb.report([tmp_path / "run"], tmp_path / "report.html")
