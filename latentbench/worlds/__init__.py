"""Worlds: processes whose optimal predictor is known, to test the whole instrument against."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.worlds.catalogue import build_world
    from latentbench.worlds.world import Target, Truth, World

__all__ = ["Target", "Truth", "World", "build_world"]

HOME = {"build_world": "catalogue", "Target": "world", "Truth": "world", "World": "world"}


def __getattr__(name: str) -> Any:
    """Import numpy and scipy only when a world is asked for, so that specs are listed without."""
    if name not in HOME:
        raise AttributeError(name)
    return getattr(import_module(f"latentbench.worlds.{HOME[name]}"), name)
