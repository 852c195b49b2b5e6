"""Station 3, latents on disk: the store, its reader, how it is filled, and transforms."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.latents.reader import Latents, StoredUtterance
    from latentbench.latents.transform import Transform

__all__ = ["Latents", "StoredUtterance", "Transform"]


def __getattr__(name: str) -> Any:
    """Import torch only when a class is asked for, so that specs can be listed without it."""
    if name in {"Latents", "StoredUtterance"}:
        from latentbench.latents import reader  # noqa: PLC0415

        return getattr(reader, name)
    if name == "Transform":
        from latentbench.latents.transform import Transform  # noqa: PLC0415

        return Transform
    raise AttributeError(name)
