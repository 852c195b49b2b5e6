"""Station 8, comparison: finished runs side by side, and what differs between them."""

from latentbench.comparison.assembly import compare_runs
from latentbench.comparison.runs import FinishedRun, read_run, read_runs
from latentbench.comparison.schema import Comparison

__all__ = ["Comparison", "FinishedRun", "compare_runs", "read_run", "read_runs"]
