"""Consoles, and progress on stderr: bars on a terminal or in a notebook, timed lines elsewhere.

The unit of a task decides how its amounts and rates read: `B` or `bytes` as megabytes, `s`
(seconds of audio) as a multiple of real time, none as work that is not counted, anything else as a
count per second.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichBars
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

from latentbench.amounts import bytes_text, duration_text
from latentbench.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import TaskID

    from latentbench.progress import Meter, Progress

__all__ = [
    "BarProgress",
    "HarmlessConsole",
    "LineProgress",
    "amount_text",
    "default_progress",
    "rate_text",
]

SECONDS_BETWEEN_LINES = 10.0
BYTES = ("B", "bytes")
AUDIO = "s"
FEW = 10

# From which amount on, decimals, and what it is called.
BYTE_SCALES = ((1e9, 1, "GB"), (1e6, 1, "MB"), (1e3, 1, "kB"), (1, 0, "B"))
AUDIO_SCALES = ((3600, 1, "h of audio"), (60, 1, "min of audio"), (1, 0, "s of audio"))


class HarmlessConsole(Console):
    """A console whose texts cannot hold escape sequences of their own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with what would steer the terminal spelt out."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text, keep="\n"), style)


def default_progress() -> Progress:
    """Bars where stderr is a terminal or this is a notebook, else lines on stderr."""
    console = HarmlessConsole(stderr=True)
    # In a notebook rich draws by ipywidgets, and warns where they are not installed.
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        return LineProgress(console.file)
    return BarProgress(console) if console.is_terminal else LineProgress(console.file)


def amount_text(done: float, total: float | None, unit: str) -> str:
    """How much of how much: `12.3/45.6 MB`, `1.5/6.0 min of audio`, `3/1,500 steps`."""
    if not unit:
        return ""
    whole = done if total is None else total
    size, decimals, name = 1.0, 0, unit
    if unit in BYTES:
        size, decimals, name = next(one for one in BYTE_SCALES if whole >= one[0] or one[0] == 1)
    elif unit == AUDIO:
        size, decimals, name = next(one for one in AUDIO_SCALES if whole >= one[0] or one[0] == 1)
    # A sum of seconds may end a hair below zero, which reads -0.0.
    amounts = [f"{max(one, 0) / size:,.{decimals}f}" for one in (done, total) if one is not None]
    return f"{'/'.join(amounts)} {name}"


def rate_text(rate: float, unit: str) -> str:
    """How fast: `3.2 MB/s`, `12x real time`, `410 steps/s`."""
    if unit in BYTES:
        return f"{bytes_text(rate)}/s"
    number = f"{rate:,.1f}" if rate < FEW else f"{rate:,.0f}"
    return f"{number}x real time" if unit == AUDIO else f"{number} {unit}/s"


class BarProgress:
    """A bar per piece of work; texts appear above the bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichBars | None = None
        self._open = 0
        self._lock = threading.Lock()

    @contextmanager
    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> Iterator[Meter]:
        """Show a bar until the block ends; it stays on the screen as it was then."""
        with self._lock:
            if self._bars is None:
                self._bars = _bars(self._console)
                self._bars.start()
            self._open += 1
            bars = self._bars
        # rich takes its speed from what is advanced, so what was done before counts for none.
        number = bars.add_task(title, total=total, completed=done, unit=unit, note="")  # type: ignore[arg-type]
        try:
            yield _Bar(bars, number)
        finally:
            bars.stop_task(number)
            with self._lock:
                self._open -= 1
                if self._open:
                    _leave_behind(bars, number)
                else:
                    bars.stop()
                    self._bars = None

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        (self._bars.console if self._bars else self._console).print(Text(text))


class _Bar:
    def __init__(self, bars: RichBars, number: TaskID) -> None:
        self._bars = bars
        self._number = number

    def advance(self, amount: float = 1.0) -> None:
        self._bars.advance(self._number, amount)

    def note(self, text: str) -> None:
        self._bars.update(self._number, note=text)


def _leave_behind(bars: RichBars, number: TaskID) -> None:
    """Print a bar that has ended above those that go on, which are to stay few."""
    ended = [task for task in bars.tasks if task.id == number]
    bars.console.print(bars.make_tasks_table(ended))
    bars.remove_task(number)


class _Facts(ProgressColumn):
    """Amount, rate, time left and note."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        facts = [amount_text(task.completed, None if task.finished else task.total, unit)]
        speed = task.finished_speed or task.speed
        if speed and unit:
            facts.append(rate_text(speed, unit))
        if task.finished and task.elapsed is not None:
            facts[0] += f" in {duration_text(task.elapsed)}"
        elif task.time_remaining is not None:
            facts.append(f"{duration_text(task.time_remaining)} left")
        return Text(", ".join(filter(None, (*facts, task.fields["note"]))))


def _bars(console: Console) -> RichBars:
    return RichBars(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(10),
        _Facts(table_column=Column(no_wrap=True)),
        console=console,
    )


class LineProgress:
    """A line at the start, about every ten seconds, and at the end of each piece of work.

    Args:
        stream: where lines go.
        clock: seconds, from anywhere; a test passes its own.
    """

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> Iterator[Meter]:
        """Write lines until the block ends."""
        lines = _Lines(self, title, total, unit=unit, done=done)
        self.say(lines.beginning())
        try:
            yield lines
        except BaseException:
            self.say(lines.ending("stopped"))
            raise
        self.say(lines.ending("done"))

    def say(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._stream.write(printable(text, keep="\n") + "\n")
            self._stream.flush()

    def now(self) -> float:
        """The time by the clock."""
        return self._clock()


class _Lines:
    def __init__(
        self, progress: LineProgress, title: str, total: float | None, *, unit: str, done: float
    ) -> None:
        self._progress = progress
        self._title = title
        self._total = total
        self._unit = unit
        self._before = self._done = done
        self._note = ""
        self._begun = self._last = progress.now()
        self._lock = threading.Lock()

    def advance(self, amount: float = 1.0) -> None:
        now = self._progress.now()
        with self._lock:
            self._done += amount
            if now - self._last < SECONDS_BETWEEN_LINES:
                return
            self._last = now
        self._progress.say(self._line(now))

    def note(self, text: str) -> None:
        self._note = text

    def beginning(self) -> str:
        return self._joined([amount_text(self._done, self._total, self._unit)])

    def ending(self, how: str) -> str:
        now = self._progress.now()
        amount = amount_text(self._done, None if how == "done" else self._total, self._unit)
        taken = f"in {duration_text(now - self._begun)}"
        facts = [f"{how}, {amount} {taken}" if amount else f"{how} {taken}"]
        return self._joined([*facts, *self._rate(now)])

    def _line(self, now: float) -> str:
        facts = [amount_text(self._done, self._total, self._unit), *self._rate(now)]
        fresh = self._done - self._before
        if self._total and fresh > 0:
            left = (self._total - self._done) * (now - self._begun) / fresh
            facts.append(f"{duration_text(max(left, 0.0))} left")
        return self._joined(facts)

    def _rate(self, now: float) -> list[str]:
        fresh, elapsed = self._done - self._before, now - self._begun
        known = self._unit and fresh > 0 and elapsed > 0
        return [rate_text(fresh / elapsed, self._unit)] if known else []

    def _joined(self, facts: list[str]) -> str:
        text = ", ".join(filter(None, (*facts, self._note)))
        return f"{self._title}: {text}" if text else self._title
