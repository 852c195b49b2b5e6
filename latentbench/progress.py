"""How long work is reported, without saying where it is shown.

The stations of the road call `Progress.task`; the command line shows it as bars or as plain
lines; a notebook or a test passes `SILENT`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["SILENT", "Meter", "Progress", "SilentProgress", "Titled"]


class Meter(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1.0) -> None:
        """Say that `amount` more of the total is done, in the unit of the task."""

    def note(self, text: str) -> None:
        """Show a short text beside the bar, e.g. the running loss."""


class Progress(Protocol):
    """Where work is reported."""

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work of `total` units (None: unknown), `done` of them before now."""

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""


class _SilentMeter:
    def advance(self, amount: float = 1.0) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress:
    """Shows nothing and keeps what was said in `said`."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def task(
        self,
        title: str,  # noqa: ARG002 - the protocol's signature
        total: float | None,  # noqa: ARG002
        unit: str,  # noqa: ARG002
        done: float = 0.0,  # noqa: ARG002
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work that nobody watches."""
        return nullcontext(_SilentMeter())

    def say(self, text: str) -> None:
        """Keep the text."""
        self.said.append(text)


class Titled:
    """Reports to another progress with a word behind every title."""

    def __init__(self, progress: Progress, word: str) -> None:
        self._progress = progress
        self._word = word

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work, `title (word)`."""
        return self._progress.task(f"{title} ({self._word})", total, unit, done)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._progress.say(text)


SILENT = SilentProgress()
