"""Worlds: processes whose optimal predictor is known, to test the whole instrument against."""

from latentbench.worlds.catalogue import build_world
from latentbench.worlds.world import Target, Truth, World

__all__ = ["Target", "Truth", "World", "build_world"]
