"""The three published architectures, in figures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CODEBOOK_DIM", "CODEBOOK_SIZE", "DAC_16K", "DAC_24K", "DAC_44K", "DIM", "Architecture"]

DIM = 1024
CODEBOOK_SIZE = 1024
CODEBOOK_DIM = 8


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What tells one published model from another.

    Attributes:
        sample_rate: in Hz.
        strides: of the encoder's blocks; their product is the hop.
        codebooks: how many the quantizer has.
        model_type: what the dac package calls it.
        release: the tag of the 8 kbps weights.
        asset: their file in that release.
    """

    sample_rate: int
    strides: tuple[int, ...]
    codebooks: int
    model_type: str
    release: str
    asset: str


DAC_16K = Architecture(
    sample_rate=16_000,
    strides=(2, 4, 5, 8),
    codebooks=12,
    model_type="16khz",
    release="0.0.5",
    asset="weights_16khz.pth",
)
DAC_24K = Architecture(
    sample_rate=24_000,
    strides=(2, 4, 5, 8),
    codebooks=32,
    model_type="24khz",
    release="0.0.4",
    asset="weights_24khz.pth",
)
DAC_44K = Architecture(
    sample_rate=44_100,
    strides=(2, 4, 8, 8),
    codebooks=9,
    model_type="44khz",
    release="0.0.1",
    asset="weights.pth",
)
