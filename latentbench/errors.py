"""What a user can be told: what was given, what was wrong, what to do next."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CellFailedError",
    "LatentbenchError",
    "UsageError",
    "counted",
    "first_line",
    "missing_module",
    "nearest",
    "some",
]


class LatentbenchError(Exception):
    """An error whose text is meant for the user: shown without a traceback.

    Args:
        message: what was given and what was found.
        hint: what to do next; shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(LatentbenchError):
    """A command line, configuration or input that cannot be used as given (exit code 2)."""

    exit_code = 2


class BusyError(UsageError):
    """Another process is at work where this one would be (exit code 2)."""


class CellFailedError(LatentbenchError):
    """At least one cell of a run failed; the others are on disk (exit code 1)."""


def counted(number: int, what: str) -> str:
    """A number of things: `1 speaker`, `2,000 speakers`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of what an error of another's code says, or else its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def missing_module(error: ModuleNotFoundError) -> str:
    """A hint that installs what an import did not find, by the module's name."""
    module = (error.name or "").partition(".")[0]
    return f"pip install {module or '(the module)'}, or the distribution that brings it."


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known name closest to `name`, or lists all of them."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{close[0]}'?"
    return "Known: " + ", ".join(choices) + "." if choices else "None are known."


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names: `a, b, c and 7 more`."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
