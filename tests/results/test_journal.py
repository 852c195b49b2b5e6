"""The journal of a run, and whoever watches it from elsewhere."""

import io
import json
import threading
import time
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.engines.relay import Receiver, Sender
from latentbench.errors import UsageError
from latentbench.locks import locked
from latentbench.progress import SILENT, Networks, SilentProgress, Titled, measure
from latentbench.results import RunFolder
from latentbench.results.journal import Journal, Tail, journal_of
from latentbench.results.watching import Watched, journals_in, watch


class Clock:
    """Seconds that pass as a test says."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Seen:
    """A progress that remembers what it shows."""

    def __init__(self):
        self.said, self.tasks = [], {}

    @contextmanager
    def task(self, title, total, unit, done=0.0):  # noqa: ARG002 - the protocol's signature
        self.tasks[title] = [done, "", "open"]

        class Meter:
            def advance(_, amount=1.0):  # noqa: N805 - `self` is the progress
                self.tasks[title][0] += amount

            def note(_, text):  # noqa: N805
                self.tasks[title][1] = text

        try:
            yield Meter()
        finally:
            self.tasks[title][2] = "closed"

    def say(self, text):
        self.said.append(text)


def events(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_task_tells_how_far_it_is_and_how_long_it_will_take():
    stream, clock = io.StringIO(), Clock()
    with Journal(stream, SILENT, clock).task("train", 100, "steps", 20) as meter:
        for _ in range(30):
            clock.now += 0.5
            meter.advance(2)
    begin, *progress, end = events(stream)
    assert (begin["title"], begin["total"], begin["done"]) == ("train", 100, 20)
    # Of 60 steps, 2 are taken every half second; one line a second is written.
    assert [one["done"] for one in progress] == [20 + 4 * n for n in range(1, 16)]
    assert progress[4]["left"] == pytest.approx((100 - 40) / 4)
    assert (end["done"], end["how"]) == (80, "done")


def test_losses_come_through_processes_and_networks_to_the_journal():
    stream = io.StringIO()
    with Networks(Journal(stream, SILENT), 2) as networks:
        receiver = Receiver(networks)
        sender = Titled(Sender(receiver.take), "unconditional")
        with sender.task("train k=1", 10, "steps") as meter:
            meter.note("NLL 2")
            measure(meter, k=1, seed=0, step=5, split="train", loss=float("nan"))
    found = events(stream)
    (loss,) = [one for one in found if one["event"] == "loss"]
    titles = {one["task"]: one["title"] for one in found if one["event"] == "begin"}
    assert titles[loss["task"]] == "train k=1 (unconditional)"
    assert [loss[name] for name in ("k", "step", "split", "loss")] == [1, 5, "train", "nan"]
    assert loss["note"] == "NLL 2"


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (None, {"event": "finished"}),
        (ValueError("no\nmore"), {"event": "failed", "error": "no more"}),
        (KeyboardInterrupt(), {"event": "stopped"}),
    ],
)
def test_its_last_event_says_how_the_run_ended(tmp_path, error, last):
    file = tmp_path / "progress.jsonl"
    try:
        with journal_of(file, SILENT, config="c"):
            if error:
                raise error
    except type(error):
        pass
    first, end = Tail(file).more()
    assert first["config"] == "c"
    assert {name: end[name] for name in last} == last


def test_a_journal_that_cannot_be_written_stops_no_run(tmp_path):
    with journal_of(tmp_path / "no" / "progress.jsonl", SILENT) as journal:
        journal.say("still here")


def test_a_line_that_is_not_whole_is_left_for_the_next_look(tmp_path):
    file = tmp_path / "progress.jsonl"
    file.write_text('{"event": "say", "text": "a"}\nnonsense\n[1]\n{"event"')
    tail = Tail(file)
    assert [one["text"] for one in tail.more()] == ["a"]
    with file.open("a") as more:
        more.write(': "stopped"}\n')
    assert [one["event"] for one in tail.more()] == ["stopped"]


@pytest.fixture
def run(tmp_path, config):
    """The folder of a run that was begun, with a journal of an earlier start."""
    opened = RunFolder.open(tmp_path / "run", config)
    with opened as begun, journal_of(begun.journal_file, SILENT) as journal:
        journal.say("of an earlier start")
    return begun


def test_what_went_on_before_is_told_and_what_goes_on_is_shown(run):
    seen = Seen()
    with locked(run.path / ".lock"), journal_of(run.journal_file, SILENT) as journal:
        with journal.task("encode", 10, "s") as meter:
            meter.advance(10)
        with journal.task("train", 100, "steps") as meter:
            meter.advance(7)
            measure(meter, loss=1.0)
            watched = Watched(run.path, seen)
            assert seen.said == ["encode: done in 0.0 s"]
            assert seen.tasks == {"train": [7, "", "open"]}
            meter.note("NLL 3")
            meter.advance(5)
            measure(meter, loss=0.5)
            assert watched.look() == "running"
            assert seen.tasks["train"] == [12, "NLL 3", "open"]
        journal.say("all is well")
        watched.look()
        assert seen.tasks["train"][2] == "closed"
        assert seen.said[1:] == ["all is well"]
    assert watched.look() == "finished"


def test_a_run_whose_process_died_is_stopped(run):
    with run.journal_file.open("a") as stream:
        stream.write('{"at": 1, "event": "run"}\n')
        stream.write('{"at": 1, "event": "begin", "task": 0, "title": "t", "total": 9,')
        stream.write(' "unit": "steps", "done": 0}\n')
    assert watch(run.path, SilentProgress()).ended == "stopped"


def test_a_run_is_watched_to_its_end_from_another_thread(run):
    told = []

    def work():
        with locked(run.path / ".lock"), journal_of(run.journal_file, SILENT) as journal:
            begun.set()
            time.sleep(0.3)
            journal.say("done soon")

    begun = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    begun.wait()
    assert watch(run.path.parent, SilentProgress(), told.append).ended == "finished"
    worker.join()
    assert [one["event"] for one in told] == ["run", "say", "finished"]


def test_the_command_prints_events_and_fails_as_the_run_did(run):
    with pytest.raises(ValueError), journal_of(run.journal_file, SILENT):
        raise ValueError("no latents")
    ended = CliRunner().invoke(main, ["watch", str(run.path), "--json"])
    assert ended.exit_code == 1
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == ["run", "failed"]
    assert f"'{run.path}' failed: no latents" in ended.stderr


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(UsageError, match="no run to watch"):
        journals_in(tmp_path)
