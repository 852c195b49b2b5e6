"""Station 3, latents on disk: the store, its reader, and how it is filled."""

from latentbench.latents.reader import Latents, StoredUtterance

__all__ = ["Latents", "StoredUtterance"]
