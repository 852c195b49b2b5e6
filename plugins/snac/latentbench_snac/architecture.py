"""The published architectures, as in the config.json of each repository."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SNAC_24K", "SNAC_32K", "SNAC_44K", "Architecture"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What tells one published model from another.

    Attributes:
        repository: on the Hugging Face Hub.
        sample_rate: in Hz.
        width: channels of the first convolution; doubled by every stride.
        strides: of the encoder's blocks; their product is the hop.
        attention: frames in a window of its local attention; None where it has none.
        vq_strides: frames that share a code, of each codebook.
        decoder_width: channels of the decoder's first convolution; halved by every stride.
        ahead: frames that a latent before the quantizer sees ahead: 10 through convolutions,
            and 31 more to the end of a window of attention. Of the decoder it is the same.
        quantized_ahead: the same of a quantized frame, whose code may be that of later ones.
    """

    repository: str
    sample_rate: int
    width: int
    strides: tuple[int, ...]
    attention: int | None
    vq_strides: tuple[int, ...]
    decoder_width: int
    ahead: int
    quantized_ahead: int

    @property
    def dim(self) -> int:
        """D."""
        return self.width * 2 ** len(self.strides)


SNAC_24K = Architecture(
    repository="hubertsiuzdak/snac_24khz",
    sample_rate=24_000,
    width=48,
    strides=(2, 4, 8, 8),
    attention=None,
    vq_strides=(4, 2, 1),
    decoder_width=1024,
    ahead=10,
    quantized_ahead=13,
)
SNAC_32K = Architecture(
    repository="hubertsiuzdak/snac_32khz",
    sample_rate=32_000,
    width=64,
    strides=(2, 3, 8, 8),
    attention=32,
    vq_strides=(8, 4, 2, 1),
    decoder_width=1536,
    ahead=41,
    quantized_ahead=46,
)
SNAC_44K = Architecture(
    repository="hubertsiuzdak/snac_44khz",
    sample_rate=44_100,
    width=64,
    strides=(2, 3, 8, 8),
    attention=32,
    vq_strides=(8, 4, 2, 1),
    decoder_width=1536,
    ahead=41,
    quantized_ahead=46,
)
