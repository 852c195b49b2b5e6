"""Station 2, frames: maps from audio to continuous latents."""

from latentbench.encoders.encoder import Encoder

__all__ = ["Encoder"]
