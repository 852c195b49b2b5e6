"""The published columns as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.reports.reporter import Reporter
from latentbench.results.horizons import horizons_csv

if TYPE_CHECKING:
    from rich.console import Console

    from latentbench.results.schema import Result
    from latentbench.specs import NoOptions

__all__ = ["CsvReporter"]


class CsvReporter(Reporter):
    """Writes what `horizons.csv` holds, whatever the width of the console."""

    def __init__(self, options: NoOptions) -> None:
        """Take no options."""

    def report(self, result: Result, console: Console) -> None:
        """Write the CSV text and nothing else."""
        console.file.write(horizons_csv(result))
