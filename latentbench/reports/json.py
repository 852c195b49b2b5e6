"""The whole result as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.escapes import printable
from latentbench.reports.reporter import Reporter

if TYPE_CHECKING:
    from rich.console import Console

    from latentbench.results.schema import Result
    from latentbench.specs import NoOptions

__all__ = ["JsonReporter"]


class JsonReporter(Reporter):
    """Writes what `result.json` holds, whatever the width of the console."""

    def __init__(self, options: NoOptions) -> None:
        """Take no options."""

    def report(self, result: Result, console: Console) -> None:
        """Write the JSON text and nothing else."""
        console.file.write(printable(result.to_json(), keep="\n"))
