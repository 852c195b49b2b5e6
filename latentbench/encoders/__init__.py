"""Station 2, frames: maps from audio to continuous latents."""

from latentbench.encoders.encoder import Encoder, Segment

__all__ = ["Encoder", "Segment"]
