"""The networks of the dac package; importing this module takes seconds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from torch import nn

from latentbench.encoders.codec import older_weight_norm
from latentbench.encoders.network_decoder import DecoderNetwork

with warnings.catch_warnings():
    # dac compiles its activation with torch.jit, and what it imports was written for older
    # Pythons: their deprecations are theirs to mend and say nothing about the latents.
    for _category in (DeprecationWarning, FutureWarning, SyntaxWarning):
        warnings.simplefilter("ignore", _category)
    from dac.model import dac as package  # type: ignore[import-untyped]
    from dac.nn.quantize import ResidualVectorQuantize  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["DacNetwork", "decoder"]

_DIM = 1024
_CODEBOOK_SIZE, _CODEBOOK_DIM = 1024, 8
_WIDTH = 64  # channels of the first convolution
_DECODER_WIDTH = 1536  # and of the decoder's


def decoder(strides: Sequence[int]) -> DecoderNetwork:
    """The decoder, whose strides are the encoder's backwards.

    An odd stride gives a sample too few, at the end.
    """
    with older_weight_norm():
        made = package.Decoder(_DIM, _DECODER_WIDTH, list(reversed(strides)))
    return DecoderNetwork(made.apply(package.init_weights))


class DacNetwork(nn.Module):
    """Encoder and residual vector quantizer, named as in the published checkpoints.

    Args:
        strides: of the encoder's blocks.
        codebooks: how many the quantizer has.

    Source: Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN, arXiv 2306.06546.
    """

    def __init__(self, strides: Sequence[int], codebooks: int) -> None:
        super().__init__()
        with older_weight_norm():
            self.encoder = package.Encoder(_WIDTH, list(strides), _DIM)
            self.quantizer = ResidualVectorQuantize(_DIM, codebooks, _CODEBOOK_SIZE, _CODEBOOK_DIM)
        self.apply(package.init_weights)
        self.eval()

    def forward(self, audio: torch.Tensor, codebooks: int | None) -> torch.Tensor:
        """The latents of whole utterances.

        Args:
            audio: float32 [B, 1, T], T a multiple of the hop.
            codebooks: how many are summed; None for the latents before the quantizer.

        Returns:
            float32 [B, F, 1024].
        """
        latents: torch.Tensor = self.encoder(audio)
        if codebooks is not None:
            latents = self.quantizer(latents, codebooks)[0]
        return latents.transpose(1, 2)
