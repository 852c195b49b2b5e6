"""The signals that end a run: Ctrl-C (SIGINT), SIGTERM and SIGHUP, all by one exception.

What is ignored when the process starts stays ignored, as by `nohup`, unless it is heeded. Python
hands signals to the main thread only; in another one nothing here changes anything.
"""

from __future__ import annotations

import _thread
import errno
import os
import signal
import threading
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

__all__ = ["Asked", "Ended", "deferred", "heed", "insisting", "raising"]

# A system without terminals to hang up has no SIGHUP.
OTHERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: to all that cleans up it is a Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raising() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Ended` as long as the block runs."""

    def end(number: int, _: FrameType | None) -> None:
        _leave_terminal()
        raise Ended(number)

    ours = OTHERS if _is_the_main_thread() else []
    before = {number: signal.getsignal(number) for number in ours}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        _restore(before)


def heed(number: int) -> None:
    """Hear a signal that this process was begun to ignore.

    A shell has what it begins in the background ignore Ctrl-C, and so do all processes that come
    of it. An engine that stops work by a signal heeds it where the work is.
    """
    if _is_the_main_thread() and signal.getsignal(number) is signal.SIG_IGN:
        is_interrupt = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)


@contextmanager
def insisting(seconds: float) -> Iterator[None]:
    """Raise once more, as long as the block runs, what a signal raised in it and was swallowed.

    An exception that a signal raises comes anywhere, as in a `__del__`, where Python drops it, or
    below an `except` of a library that catches all.

    Args:
        seconds: in which the block may end after each.
    """
    raised: SimpleQueue[int] = SimpleQueue()  # of all queues the one that handlers may use
    before = _handlers()

    def note(number: int, interrupted: FrameType | None) -> None:
        raised.put(number)
        before[number](number, interrupted)

    def insist() -> None:
        while number := raised.get():
            with suppress(Empty):
                while number := raised.get(timeout=seconds):
                    pass
                return
            _thread.interrupt_main(signal.Signals(number))

    for number in before:
        signal.signal(number, note)
    threading.Thread(target=insist, daemon=True).start()
    try:
        yield
    finally:
        raised.put(0)  # no signal: the block has ended
        _restore(before)


class Asked(threading.Event):
    """Set when a signal came that waits until it is passed on."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Callable[[], object]] = []

    def keep(self, call: Callable[[], object]) -> None:
        """Let the handler that was there before wait."""
        self._waiting.append(call)
        self.set()

    def pass_on(self) -> None:
        """Call the handler that waits, if one does; it mostly raises."""
        if self._waiting:
            self._waiting.pop()()


@contextmanager
def deferred() -> Iterator[Asked]:
    """Set an event when one of the signals comes, instead of raising in the middle of something.

    On leaving, or where the block calls `pass_on`, the handler that was there before is called and
    raises as it would have. A second signal goes to it at once.
    """
    asked = Asked()
    before = _handlers()

    def ask(number: int, interrupted: FrameType | None) -> None:
        _leave_terminal()
        if asked.is_set():
            before[number](number, interrupted)
        asked.keep(partial(before[number], number, interrupted))

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        _restore(before)
    asked.pass_on()


def _is_the_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handlers() -> dict[int, Callable[[int, FrameType | None], Any]]:
    """What is called when one of the signals comes, where anything is."""
    return {
        number: handler
        for number in ((signal.SIGINT, *OTHERS) if _is_the_main_thread() else ())
        if callable(handler := signal.getsignal(number))
    }


def _restore(before: Mapping[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _leave_terminal() -> None:
    """Write to nowhere where the terminal has hung up: a bar would end the run with an error."""
    for stream in filter(_has_hung_up, (1, 2)):
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path
            os.dup2(nowhere.fileno(), stream)


def _has_hung_up(stream: int) -> bool:
    try:
        os.get_terminal_size(stream)
    except OSError as error:
        return error.errno == errno.EIO
    return False
