"""Finished runs side by side, and what differs between them."""

from latentbench.comparisons.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
