"""Progress reads right: megabytes, real time, rates and what is left."""

import io

import pytest
from rich.console import Console

from latentbench.amounts import bytes_text, duration_text
from latentbench.display import BarProgress, LineProgress, amount_text, rate_text
from latentbench.progress import Networks


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((12.3e6, 45.6e6, "bytes"), "12.3/45.6 MB"),
        ((1.25e8, 3e9, "B"), "0.1/3.0 GB"),
        ((7, 900, "B"), "7/900 B"),
        ((0, 0, "B"), "0/0 B"),
        ((20, 50, "s"), "20/50 s of audio"),
        ((90, 360, "s"), "1.5/6.0 min of audio"),
        ((90, 362160, "s"), "0.0/100.6 h of audio"),
        ((3, 1500, "steps"), "3/1,500 steps"),
        ((3, None, "files"), "3 files"),
        ((-1e-13, 360, "s"), "0.0/6.0 min of audio"),
        ((0, None, ""), ""),
    ],
)
def test_amounts(arguments, text):
    assert amount_text(*arguments) == text


@pytest.mark.parametrize(
    ("rate", "unit", "text"),
    [
        (3.2e6, "B", "3.2 MB/s"),
        (12.0, "s", "12x real time"),
        (0.5, "s", "0.5x real time"),
        (410.4, "steps", "410 steps/s"),
    ],
)
def test_rates(rate, unit, text):
    assert rate_text(rate, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.24, "0.2 s"), (8, "8 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(999, "999 B"), (1000, "1.0 kB"), (2.5e13, "25.0 TB")])
def test_bytes(count, text):
    assert bytes_text(count) == text


def test_lines_come_at_the_start_every_ten_seconds_and_at_the_end():
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, clock).task("training", 100, "steps", done=20) as meter:
        meter.note("loss 2.5")
        for _ in range(80):
            clock.now += 0.25
            meter.advance()
    assert stream.getvalue().splitlines() == [
        "training: 20/100 steps",
        "training: 60/100 steps, 4.0 steps/s, 10 s left, loss 2.5",
        "training: 100/100 steps, 4.0 steps/s, 0.0 s left, loss 2.5",
        "training: done, 100 steps in 20 s, 4.0 steps/s, loss 2.5",
    ]


def test_work_that_is_broken_off_says_where():
    stream = io.StringIO()
    progress = LineProgress(stream, Clock())

    def interrupted():
        with progress.task("encoding", 60, "s") as meter:
            meter.advance(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().splitlines()[-1] == (
        "encoding: stopped, 0.3/1.0 min of audio in 0.0 s"
    )


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def test_bars_show_amount_rate_and_note(terminal):
    progress = BarProgress(terminal)
    with progress.task("training k=1 [0]", 100, "steps") as meter:
        meter.note("loss 2.5")
        meter.advance(100)
        progress.say("a word [in between]")
    text = terminal.file.getvalue()
    assert "training k=1 [0]" in text
    assert "100 steps in 0.0 s" in text
    assert "loss 2.5" in text
    assert "a word [in between]" in text


def test_bars_of_nested_and_following_work(terminal):
    progress = BarProgress(terminal)
    with progress.task("outer", 1, "cells") as outer, progress.task("inner", None, "files") as one:
        one.advance(3)
        outer.advance()
    with pytest.raises(ValueError, match="broken"), progress.task("later", 2, "bytes"):
        raise ValueError("broken")
    progress.say("still here")
    text = terminal.file.getvalue()
    assert all(word in text for word in ("outer", "inner", "3 files", "later", "still here"))


def test_work_that_is_not_counted_says_how_long_it_took():
    clock, stream = Clock(), io.StringIO()
    with LineProgress(stream, clock).task("summing up", None, ""):
        clock.now += 3
    assert stream.getvalue().splitlines() == ["summing up", "summing up: done in 3 s"]


def test_all_networks_of_a_run_have_a_bar_together():
    clock, stream = Clock(), io.StringIO()
    with Networks(LineProgress(stream, clock), 3) as progress:
        for k in (1, 2):
            with progress.task(f"train k={k}", 40, "steps") as meter:
                for _ in range(40):
                    clock.now += 0.5
                    meter.advance()
            with progress.task("scoring", 1, "frames"):
                pass
    said = stream.getvalue().splitlines()
    assert said[0] == "all networks"
    assert "all networks: 30 s left, network 2 of 3" in said
    assert said[-1] == "all networks: done in 40 s, network 2 of 3"


def test_a_network_that_converges_early_is_done_as_a_whole():
    clock, stream = Clock(), io.StringIO()
    with Networks(LineProgress(stream, clock), 2) as progress:
        with progress.task("train k=1", 1000, "steps") as meter:
            for _ in range(40):
                clock.now += 0.5
                meter.advance()
        with progress.task("train k=2", 40, "steps") as meter:
            for _ in range(40):
                clock.now += 0.5
                meter.advance()
    said = stream.getvalue().splitlines()
    # half of the networks took 20 s; of 1,040 steps that would be 1/26
    assert "all networks: 10 s left, network 2 of 2" in said
    assert said[-1] == "all networks: done in 40 s, network 2 of 2"


def test_steps_of_an_earlier_command_take_no_time_of_this_one():
    clock, stream = Clock(), io.StringIO()
    with (
        Networks(LineProgress(stream, clock), 2) as progress,
        progress.task("train k=1", 1000, "steps", done=960) as meter,
    ):
        for _ in range(20):
            clock.now += 0.5
            meter.advance()
    # 20 of the 1,040 steps to come took 10 s
    assert "all networks: 8 min 30 s left, network 1 of 2" in stream.getvalue()


def test_a_training_that_fails_is_not_done():
    stream = io.StringIO()
    with (
        Networks(LineProgress(stream, Clock()), 2) as progress,
        pytest.raises(ValueError, match="broken"),
        progress.task("train k=1", 40, "steps"),
    ):
        raise ValueError("broken")
    assert progress._done == 0


def test_bars_that_ended_leave_the_place_to_those_that_go_on(terminal):
    progress = BarProgress(terminal)
    with progress.task("all", 100, "steps"):
        for number in range(50):
            with progress.task(f"one {number}", 1, "steps") as meter:
                meter.advance()
        assert [task.description for task in progress._bars.tasks] == ["all"]
    assert "one 49" in terminal.file.getvalue()
