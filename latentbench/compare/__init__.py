"""Finished runs side by side, and what differs between them."""

from latentbench.compare.comparison import Comparison, compare_runs

__all__ = ["Comparison", "compare_runs"]
