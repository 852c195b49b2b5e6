"""What does the units of work of an experiment, here or elsewhere."""

from latentbench.engines.engine import Cell, Engine, Outcome, Unit, closed

__all__ = ["Cell", "Engine", "Outcome", "Unit", "closed"]
