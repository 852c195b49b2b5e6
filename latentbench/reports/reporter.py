"""The reporter contract: a finished result in, something to look at out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from latentbench.results.schema import Result

__all__ = ["Reporter"]


class Reporter(ABC):
    """Shows a result; made by `factory(options)`.

    `latentbench.reports.tables` draws tables for every width of console.

    Args:
        options: of its spec.
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def report(self, result: Result, console: Console) -> None:
        """Write the result to the console, whose width it respects."""
