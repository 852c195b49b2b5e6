"""What runs the cells of an experiment, here or elsewhere."""

from latentbench.engines.engine import Cell, Engine, Outcome

__all__ = ["Cell", "Engine", "Outcome"]
