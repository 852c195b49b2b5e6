"""Station 3, latents on disk: the store, how it is filled and read, and transforms."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.latents.latents import Latents, StoredUtterance
    from latentbench.latents.transform import Transform

__all__ = ["Latents", "StoredUtterance", "Transform"]


def __getattr__(name: str) -> Any:
    """Import torch only when a class is asked for, so that specs can be listed without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "transform" if name == "Transform" else "latents"
    return getattr(importlib.import_module(f"{__name__}.{where}"), name)
