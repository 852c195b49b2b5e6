"""What runs say reaches other tools, and is read back from the files these keep."""

import json
import sqlite3
import time
from typing import ClassVar

import pytest

import latentbench as lb
from latentbench.config import make, read_component
from latentbench.conformance import Conformance
from latentbench.plugins import load_registry
from latentbench.progress import SILENT, measure
from latentbench.results.journal import journal_of
from latentbench.trackers import Tracker
from latentbench.trackers.tracker import Tracking

LOSS = "loss/unconditional/k2/seed7/validation"


class Kept(Tracker):
    """Remembers what it is told."""

    def __init__(self, options=None):
        super().__init__(options)
        self.told = []

    def begin(self, folder, config):
        self.told.append(("begin", folder.name, config["seeds"]))

    def loss(self, name, value, step):
        self.told.append((name, value, step))

    def figure(self, name, value):
        self.told.append((name, value))

    def end(self, how):
        self.told.append(how)


class Broken(Kept):
    """Loses its connection."""

    def loss(self, name, *_):
        raise ConnectionError(f"no route for {name}")


def follow(trackers, folder, say=lambda _: None):
    """What a run of one loss and one figure says, through its journal."""
    folder.mkdir()
    with journal_of(folder / "progress.jsonl", SILENT) as journal:
        journal.told = Tracking(trackers, folder, {"seeds": [7], "task": {"k": 2}}, say).take
        with journal.task("train k=2 (unconditional)", 100, "steps") as meter:
            measure(meter, k=2, seed=7, step=50, split="validation", loss=1.5)
        figure = {"figure": "gain", "k": 2, "ms": 80.0, "value": float("inf")}
        journal.write("figure", low=None, high=None, unit="nats/frame", **figure)


def test_losses_and_figures_come_by_name_and_the_end_is_told(tmp_path):
    kept = Kept()
    follow([kept], tmp_path / "run")
    gain = ("gain/k2", float("inf"))
    assert kept.told == [("begin", "run", [7]), (LOSS, 1.5, 50), gain, "finished"]


def test_a_tracker_that_fails_is_told_no_more_and_the_others_are(tmp_path):
    kept, broken, said = Kept(), Broken(), []
    follow([broken, kept], tmp_path / "run", said.append)
    assert said == [f"The tracker Broken is told no more: no route for {LOSS}"]
    assert broken.told == [("begin", "run", [7])]
    assert kept.told[-1] == "finished"


@pytest.fixture
def followed(tmp_path):
    """The folder of a run that a built-in tracker was told of."""

    def by(named):
        tracker = make(read_component(named, "--track"), "tracker", load_registry())
        follow([tracker], tmp_path / "run", pytest.fail)
        return tmp_path / "run"

    return by


def test_tensorboard_reads_the_losses(followed):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    events = accumulator(str(followed("tensorboard") / "trackers" / "tensorboard")).Reload()
    (loss,), (gain,) = events.Scalars(LOSS), events.Scalars("figures/gain/k2")
    assert (loss.step, loss.value, gain.value) == (50, 1.5, float("inf"))
    assert "ended/text_summary" in events.Tags()["tensors"]


def test_the_folder_of_tensorboard_may_be_below_home(followed, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    followed('{name: tensorboard, folder: "~/boards"}')
    assert [one.name for one in (tmp_path / "home" / "boards").iterdir()] == ["run"]


def test_wandb_keeps_the_losses_offline(followed):
    (file,) = followed("wandb").glob("trackers/wandb/offline-run-*/run-*.wandb")
    wanted = [text.encode() for text in (LOSS, "1.5", "gain/k2", "Infinity", "latentbench")]
    written, until = b"", time.monotonic() + 20
    while not all(text in written for text in wanted) and time.monotonic() < until:
        time.sleep(0.05)  # the process of wandb writes on after the run has ended
        written = file.read_bytes()
    assert [text for text in wanted if text not in written] == []


@pytest.mark.filterwarnings("default")  # of the libraries that MLflow stands on
def test_mlflow_keeps_the_losses_in_its_store(followed, tmp_path):
    store = tmp_path / "m.db"
    followed(json.dumps({"name": "mlflow", "uri": f"sqlite:///{store}"}))
    asked = "select key, value, step from metrics where key like 'loss/%'"
    with sqlite3.connect(store) as found:
        assert found.execute(asked).fetchall() == [(LOSS, 1.5, 50)]
        assert found.execute("select status from runs").fetchall() == [("FINISHED",)]
        parameters = dict(found.execute("select key, value from params").fetchall())
    found.close()
    assert parameters == {"seeds": "[7]", "task.k": "2"}


class TestTensorboard(Conformance):
    kind = "tracker"
    name = "tensorboard"
    options: ClassVar = {}


def test_an_unknown_tracker_is_named_before_anything_runs(tmp_path):
    with pytest.raises(lb.UsageError, match="no tracker called 'tensorbord'"):
        lb.run(preset="demo", trackers=["tensorbord"], out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
