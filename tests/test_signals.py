"""SIGTERM and SIGHUP end a run as Ctrl-C does: a checkpoint, an exit code of its own, no child."""

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from latentbench.signals import Ended, deferred, heed, insisting, raising

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
RUN = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1"),
    *("--set", "corpus.speakers=4", "--set", "corpus.dim=4", "--set", "predictor.width=8"),
    *("--set", "utterances.min_seconds=0", "--set", "task.frame_set=own", "--device", "cpu"),
)


@contextmanager
def start(tmp_path, *arguments, **kwargs):
    """The command line in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "latentbench", *arguments]
    environment = os.environ | {"LATENTBENCH_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **kwargs) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(word, stream, also=""):
    for line in stream:
        if word in line:
            assert also in line
            return
    pytest.fail(f"'{word}' was never said")


def alive_in(group):
    """Processes of a group. One that has ended and waits for its parent to look is none."""
    return [
        process
        for process in psutil.process_iter(["status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and group_of(process) == group
    ]


def group_of(process):
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


# The command line with a progress that sends a signal to the process at the tenth step.
AT_STEP_10 = """
import os, sys
from contextlib import contextmanager, suppress
import latentbench.display
from latentbench.cli import main
from latentbench.progress import SilentProgress

class Progress(SilentProgress):
    @contextmanager
    def task(self, title, *_, **__):
        yield Meter(title.startswith("train"))

class Meter:
    steps = 0
    def __init__(self, counts):
        self.counts = counts
    def advance(self, amount=1):
        self.steps += self.counts
        if self.steps == 10:
            os.kill(os.getpid(), int(sys.argv.pop()))
    def note(self, text):
        pass

latentbench.display.default_progress = Progress
main(sys.argv[1:-1])
"""


@pytest.mark.parametrize("number", CODES)
def test_a_run_that_is_ended_leaves_a_checkpoint_and_continues_from_it(tmp_path, number):
    arguments = (*RUN, "--steps", "1000000", "--out", str(tmp_path / "run"))
    ended = subprocess.run(
        [sys.executable, "-c", AT_STEP_10, *arguments, str(int(number))],
        env=os.environ | {"LATENTBENCH_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.returncode == CODES[number]
    assert ended.stderr == "\nInterrupted. The same command continues from here.\n"
    with start(tmp_path, *arguments, stderr=subprocess.PIPE) as again:
        wait_for("Training goes on from step", again.stderr, "10 of the checkpoint")
        again.send_signal(signal.SIGINT)
        again.communicate(timeout=60)


def test_a_terminal_that_is_closed_leaves_a_checkpoint(tmp_path):
    ours, theirs = pty.openpty()
    arguments = (*RUN, "--steps", "1000000", "--out", str(tmp_path / "run"))
    with start(
        tmp_path, *arguments, stderr=theirs, stdout=theirs, start_new_session=True
    ) as command:
        os.close(theirs)
        shown = b""
        while b"steps/s" not in shown:
            shown += os.read(ours, 4096)
        os.close(ours)
        command.send_signal(signal.SIGHUP)
        command.wait(timeout=60)
    assert command.returncode == CODES[signal.SIGHUP]
    assert (tmp_path / "run" / "cells" / "k1-seed42" / "predictor.checkpoint").exists()
    assert not (tmp_path / "run" / "cells" / "k1-seed42" / "cell.json").exists()


@pytest.mark.parametrize("number", CODES)
def test_no_child_is_left_that_makes_speech(tmp_path, number):
    arguments = ("run", "--preset", "demo", "--dry-run")
    with start(tmp_path, *arguments, stderr=subprocess.PIPE, start_new_session=True) as command:
        wait_for("making speech", command.stderr)
        command.send_signal(number)
        command.communicate(timeout=60)
    assert command.returncode == CODES[number]
    assert not alive_in(command.pid)


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising(), deferred() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def terminate_and_look():
    with raising(), deferred() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked.is_set()


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in CODES]
    with pytest.raises(Ended) as ended:
        terminate_and_look()
    assert ended.value.number == signal.SIGTERM
    assert [signal.getsignal(number) for number in CODES] == before


def test_a_second_signal_does_not_wait():
    def insist():
        with raising(), deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it waited")

    with pytest.raises(KeyboardInterrupt):
        insist()


def swallow_a_signal():
    with suppress(Ended):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it was not raised")


def test_what_is_swallowed_is_raised_again():
    def work():
        with raising(), insisting(0.05):
            swallow_a_signal()
            while True:
                time.sleep(0.01)

    with pytest.raises(Ended) as ended:
        work()
    assert ended.value.number == signal.SIGTERM


def test_a_checkpoint_is_given_its_time_by_who_insists():
    saved = []

    def work():
        with raising(), insisting(0.05):
            swallow_a_signal()
            with deferred() as asked:
                while not asked.is_set():
                    time.sleep(0.01)
                time.sleep(0.3)  # several times as long as is given to what ends
                saved.append("checkpoint")
            pytest.fail("the signal was not passed on")

    with pytest.raises(Ended):
        work()
    assert saved == ["checkpoint"]


def test_nobody_insists_once_the_block_has_ended():
    before = [signal.getsignal(number) for number in CODES]
    with raising():
        with insisting(0.05):
            swallow_a_signal()
        time.sleep(0.2)
    assert [signal.getsignal(number) for number in CODES] == before


@pytest.mark.parametrize("number", CODES)
def test_what_is_heeded_is_ignored_no_more(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        heed(number)
        expected = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        assert signal.getsignal(number) is expected
        signal.signal(number, print)
        heed(number)
        assert signal.getsignal(number) is print
    finally:
        signal.signal(number, before)
