"""Station 8, tables: ways to show a result."""

from latentbench.reports.reporter import Reporter

__all__ = ["Reporter"]
