"""The journal of a run, `progress.jsonl`: what it did and how far it is, a line an event.

Written as the run goes on, by whatever engine, and never read by it. A run that is continued
writes on; each start begins with an event `run`.
"""

from __future__ import annotations

import io
import json
import math
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from latentbench import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from latentbench.progress import Meter, Progress
    from latentbench.results.schema import Result

__all__ = ["Event", "Journal", "Tail", "journal_of"]

Event: TypeAlias = dict[str, Any]
SECONDS_BETWEEN = 1.0  # of a task's amounts; losses, texts and ends are written at once
ALL = "all"


class Journal:
    """A progress that shows what it is told as another does, and writes it down.

    A line that cannot be written is left out: a run does not fail for its journal.

    Args:
        stream: of the file.
        shown: where it is shown.
        clock: seconds since 1970.

    Attributes:
        told: is given every event, as it is written.
    """

    def __init__(
        self, stream: IO[str], shown: Progress, clock: Callable[[], float] = time.time
    ) -> None:
        self.told: Callable[[Event], object] = lambda _: None
        self._stream = stream
        self._shown = shown
        self._clock = clock
        self._lock = threading.Lock()
        self._telling = threading.RLock()  # a listener may say something, which is an event too
        self._tasks = 0

    @contextmanager
    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> Iterator[Meter]:
        """Begin a piece of work."""
        with self._lock:
            number, self._tasks = self._tasks, self._tasks + 1
        self.write("begin", task=number, title=title, total=total, unit=unit, done=done)
        with self._shown.task(title, total, unit, done) as shown:
            meter = _Meter(self, shown, number, total, done)
            try:
                yield meter
            except BaseException:
                meter.end("stopped")
                raise
            meter.end("done")

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._shown.say(text)
        self.write("say", text=text)

    def figures(self, result: Result) -> None:
        """Write what was found: every figure of all eval frames."""
        for horizon in result.horizons:
            for one in horizon.figures:
                if (one.split, one.slice) == ("eval", ALL):
                    kept = {name: getattr(one, name) for name in ("value", "low", "high", "unit")}
                    place = {"k": horizon.k, "ms": horizon.milliseconds}
                    self.write("figure", figure=one.name, **place, **kept)

    def write(self, event: str, **facts: Any) -> None:
        """Write an event."""
        written = {"at": self.now(), "event": event} | _plain(facts)
        line = json.dumps(written, allow_nan=False)
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()
        with self._telling:
            self.told(written)

    def now(self) -> float:
        """The time by the clock, to the millisecond."""
        return round(self._clock(), 3)


def _plain(facts: Event) -> Event:
    """JSON knows no infinity and no nan: they are written as text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }


class _Meter:
    def __init__(
        self, journal: Journal, shown: Meter, number: int, total: float | None, done: float
    ) -> None:
        self._journal = journal
        self._shown = shown
        self._number = number
        self._total = total
        self._before = self._done = done
        self._note = ""
        self._begun = self._last = journal.now()
        self._lock = threading.Lock()

    def advance(self, amount: float = 1.0) -> None:
        self._shown.advance(amount)
        now = self._journal.now()
        with self._lock:
            self._done += amount
            due = now - self._last >= SECONDS_BETWEEN
            if due:
                self._last = now
        if due:
            self._write("progress", left=self._left(now))

    def note(self, text: str) -> None:
        self._shown.note(text)
        self._note = text

    def measure(self, **facts: float | str) -> None:
        self._write("loss", **facts)

    def end(self, how: str) -> None:
        self._write("end", how=how)

    def _write(self, event: str, **facts: Any) -> None:
        self._journal.write(event, task=self._number, done=self._done, note=self._note, **facts)

    def _left(self, now: float) -> float | None:
        """Seconds until the end at the mean speed so far; None where that is unknown."""
        fresh = self._done - self._before
        if self._total is None or fresh <= 0:
            return None
        return round(max((self._total - self._done) * (now - self._begun) / fresh, 0.0), 1)


@contextmanager
def journal_of(file: Path, shown: Progress, **facts: Any) -> Iterator[Journal]:
    """The journal of a run for as long as it goes on; how it ended is its last event.

    Args:
        file: is written on; where it cannot be, nothing is kept.
        shown: where the run is shown.
        **facts: of its first event.
    """
    with _appended(file) as stream:
        journal = Journal(stream, shown)
        journal.write("run", latentbench=__version__, **facts)
        try:
            yield journal
        except Exception as error:
            journal.write("failed", error=" ".join(str(error).split()))
            raise
        except BaseException:
            journal.write("stopped")
            raise
        journal.write("finished")


@contextmanager
def _appended(file: Path) -> Iterator[IO[str]]:
    stream: IO[str] = io.StringIO()
    with suppress(OSError):
        stream = file.open("a", encoding="utf-8", newline="\n")
    try:
        yield stream
    finally:
        with suppress(OSError):
            stream.close()


class Tail:
    """The events of a journal, as they come.

    Args:
        file: may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0

    def more(self) -> list[Event]:
        """The events since the last time; a line that is not whole yet is left for the next."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._read)
                found = stream.read()
        except OSError:
            return []
        whole = found[: found.rfind(b"\n") + 1]
        self._read += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line)) is not None]


def _parsed(line: bytes) -> Event | None:
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict) and isinstance(found.get("event"), str):
            return found
    return None
