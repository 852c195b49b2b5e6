"""Sounds in a report: played from inside the page, and what does not belong there refused."""

import json
import shutil

import numpy as np
import pytest
import soundfile

import latentbench as lb
from latentbench.errors import LatentbenchError
from latentbench.listening.record import Listening, Sound

RATE, SECONDS = 8_000, 2
NAME = "<b>u</b>"


@pytest.fixture
def heard(folders, tmp_path):
    """A run with two sounds beside it, as `listen` leaves them."""
    run = tmp_path / "run"
    shutil.copytree(folders[0], run)
    (run / "listen").mkdir()
    sounds = []
    for kind, factor in (("original", 1.0), ("rollout", 0.0)):
        samples = factor * 0.1 * np.sin(np.arange(SECONDS * RATE) / 3)
        soundfile.write(run / "listen" / f"{kind}.wav", samples, RATE, subtype="PCM_16")
        told = {} if factor else {"log_mel": 12.34, "movement": 0.01}
        sounds.append(Sound(utterance=NAME, kind=kind, file=f"{kind}.wav", seconds=SECONDS, **told))
    record = Listening(
        run=str(run), folder=str(run / "listen"), encoder="e", corpus="c", predictor="p", k=1,
        milliseconds=20, seed=0, sample_rate=RATE, prompt_seconds=1, control=False,
        sounds=tuple(sounds),
    )  # fmt: skip
    (run / "listen" / "listen.json").write_text(record.model_dump_json())
    return run


def test_the_page_plays_them(heard, browser, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(lb.report([heard], tmp_path / "report.html").as_uri())
    lasting = "return [...document.querySelectorAll('audio')].map((one) => one.duration)"
    found = WebDriverWait(browser, 20, 0.05).until(
        lambda one: all(one.execute_script(lasting)) and one.execute_script(lasting)
    )
    assert found == pytest.approx([SECONDS, SECONDS], abs=0.01)
    players = browser.find_elements("css selector", "audio")
    assert all(one.size["width"] > 140 for one in players)  # room for a button and the time
    rows = browser.find_elements("css selector", "table.sounds tbody tr")
    assert [one.text.split() for one in rows] == [
        ["original", "-", "-"],
        ["rollout", "12.3", "0.01", "stands", "still"],
    ]
    assert NAME in browser.find_element("css selector", "table.sounds caption").text


def test_without_sounds_there_is_no_section(folders, tmp_path):
    page = lb.report([folders[0]], tmp_path / "report.html").read_text("utf-8")
    assert 'id="sounds"' not in page


@pytest.mark.parametrize("name", ["../config.yaml", "..", "", "a\\b.wav"])
def test_a_list_that_names_other_files_is_refused(heard, tmp_path, name):
    file = heard / "listen" / "listen.json"
    told = json.loads(file.read_text())
    told["sounds"][0]["file"] = name
    file.write_text(json.dumps(told))
    with pytest.raises(LatentbenchError, match="no file of its folder"):
        lb.report([heard], tmp_path / "report.html")


def test_a_sound_that_is_gone_or_none_is_told(heard, tmp_path):
    (heard / "listen" / "rollout.wav").write_bytes(b"no sound")
    with pytest.raises(LatentbenchError, match=r"rollout\.wav"):
        lb.report([heard], tmp_path / "report.html")
    (heard / "listen" / "rollout.wav").unlink()
    with pytest.raises(LatentbenchError, match=r"rollout\.wav"):
        lb.report([heard], tmp_path / "report.html")
