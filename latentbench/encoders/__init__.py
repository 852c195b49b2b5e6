"""Station 2, frames: maps from audio to continuous latents."""

from latentbench.encoders.codec_options import RANDOM, CodecOptions, codebooks_summed
from latentbench.encoders.encoder import WHOLE_UTTERANCE, Encoder, Segment, exact_float32

__all__ = [
    "RANDOM",
    "WHOLE_UTTERANCE",
    "CodecOptions",
    "Encoder",
    "Segment",
    "codebooks_summed",
    "exact_float32",
]
