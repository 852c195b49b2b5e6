"""Progress of work in another process, sent over a connection and shown here.

There, `Sender` is the progress of the work. Here, `Receiver` shows what it sends. Steps come at
most ten times a second; a text comes at once.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from latentbench.progress import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from latentbench.progress import Meter, Progress

__all__ = ["Receiver", "Sender", "show_elsewhere", "shown_by"]

SECONDS_BETWEEN = 0.1


def shown_by(work: Any) -> Progress | None:
    """Where work shows how far it is; None where it does not."""
    progress: Progress | None = getattr(work, "progress", None)
    return progress


def show_elsewhere(work: Any, progress: Progress) -> None:
    """Let work that shows how far it is show it by another progress."""
    if hasattr(work, "progress"):
        work.progress = progress


class Sender:
    """A progress that calls `send` with plain tuples, from any thread.

    Args:
        send: takes a message; an `OSError` says that nobody listens any more.
    """

    def __init__(self, send: Callable[[tuple[Any, ...]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    @contextmanager
    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> Iterator[Meter]:
        """Begin a piece of work there."""
        number = next(self._numbers)
        self.send("begin", number, title, total, unit, done)
        meter = _Meter(self, number)
        ended = False
        try:
            yield meter
            ended = True
        finally:
            meter.flush()
            self.send("end", number, ended)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self.send("say", text)

    def send(self, *message: Any) -> None:
        """Send a message whole, whichever thread it is from."""
        with self._lock, suppress(OSError):
            self._send(message)


class _Meter:
    def __init__(self, sender: Sender, number: int) -> None:
        self._sender = sender
        self._number = number
        self._waiting = 0.0
        self._note: str | None = None
        self._last = time.monotonic()

    def advance(self, amount: float = 1.0) -> None:
        self._waiting += amount
        if time.monotonic() - self._last >= SECONDS_BETWEEN:
            self.flush()

    def note(self, text: str) -> None:
        self._note = text

    def measure(self, **facts: float | str) -> None:
        self.flush()
        self._sender.send("measure", self._number, facts)

    def flush(self) -> None:
        """Send what has come together since the last time."""
        self._sender.send("advance", self._number, self._waiting, self._note)
        self._waiting, self._note, self._last = 0.0, None, time.monotonic()


class Receiver:
    """Shows by `progress` what one `Sender` sends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[int, tuple[AbstractContextManager[Meter], Meter]] = {}

    def take(self, message: tuple[Any, ...]) -> None:
        """Show one message."""
        match message:
            case ("begin", int(number), title, total, unit, done):
                task = self._progress.task(title, total, unit, done)
                self._open[number] = (task, task.__enter__())
            case ("advance", int(number), amount, note):
                self._advance(self._open[number][1], amount, note)
            case ("measure", int(number), facts):
                measure(self._open[number][1], **facts)
            case ("end", int(number), ended):
                self._end(number, ended=ended)
            case ("say", str(text)):
                self._progress.say(text)

    def close(self) -> None:
        """End, as stopped, what the sender did not live to end."""
        for number in [*reversed(self._open)]:
            self._end(number, ended=False)

    @staticmethod
    def _advance(meter: Meter, amount: float, note: str | None) -> None:
        if note is not None:
            meter.note(note)
        meter.advance(amount)

    def _end(self, number: int, *, ended: bool) -> None:
        task, _ = self._open.pop(number)
        if ended:
            task.__exit__(None, None, None)
            return
        stopped = InterruptedError("the work ended in its process")
        with suppress(InterruptedError):  # a display lets it pass
            task.__exit__(InterruptedError, stopped, None)
