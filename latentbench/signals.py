"""The signals that end a run: Ctrl-C (SIGINT), SIGTERM and SIGHUP, all by one exception.

What is ignored when the process starts stays ignored, as by `nohup`. Python hands signals to the
main thread only; in another one nothing here changes anything.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Asked", "Ended", "deferred", "raising"]

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

    ours = OTHERS if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in ours}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    here = threading.current_thread() is threading.main_thread()
    before = {
        number: handler
        for number in ((signal.SIGINT, *OTHERS) if here else ())
        if callable(handler := signal.getsignal(number))
    }

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
        for number, handler in before.items():
            signal.signal(number, handler)
    asked.pass_on()


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
