"""The networks of the encodec package: the decoder is apart, and built only if asked for."""

from __future__ import annotations

from typing import Any

import torch
from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
from encodec.quantization.vq import ResidualVectorQuantizer
from torch import nn

from latentbench.encoders.codec import older_weight_norm

__all__ = ["EncodecNetwork", "decoder"]

_BINS = 1024
_HOP = 320
_NOISE_AMPLITUDE = 0.1  # about that of speech
_NOISE_FRAMES = 256


def decoder(channels: int, *, causal: bool) -> nn.Module:
    """The decoder, of the same convolutions as the encoder."""
    with older_weight_norm():
        return SEANetDecoder(channels=channels, norm=_norm(causal=causal), causal=causal)


class EncodecNetwork(nn.Module):
    """Encoder and residual vector quantizer, named as in the published checkpoints.

    Args:
        channels: of the audio.
        codebooks: how many the quantizer has at its highest bandwidth.
        causal: whether convolutions see the past only.

    Source: Défossez et al., High Fidelity Neural Audio Compression, arXiv 2210.13438.
    """

    def __init__(self, channels: int, codebooks: int, *, causal: bool) -> None:
        super().__init__()
        with older_weight_norm():
            self.encoder = SEANetEncoder(
                channels=channels, norm=_norm(causal=causal), causal=causal
            )
        self.quantizer = ResidualVectorQuantizer(
            dimension=self.encoder.dimension, n_q=codebooks, bins=_BINS
        )
        self.eval()

    def forward(self, audio: torch.Tensor, codebooks: int | None) -> torch.Tensor:
        """The latents of whole pieces of audio.

        Args:
            audio: float32 [B, channels, T], normalised where the model asks for it.
            codebooks: how many are summed; None for the latents before the quantizer.

        Returns:
            float32 [B, F, 128].
        """
        latents: torch.Tensor = self.encoder(audio)
        if codebooks is not None:
            codes = self.quantizer.vq.encode(latents, n_q=codebooks)
            latents = self.quantizer.vq.decode(codes)
        return latents.transpose(1, 2)

    @torch.no_grad()
    def draw_codebooks(self, seed: int) -> None:
        """Fill untrained codebooks, which the package leaves at zero.

        Each gets the residuals that white noise leaves it, shrunk by factors from 1/2 to 1, so
        that codes are as large as what they quantize and leave something to the next codebook.
        """
        generator = torch.Generator().manual_seed(seed)
        channels = self.encoder.channels
        noise = torch.randn(4, channels, _NOISE_FRAMES // 4 * _HOP, generator=generator)
        latents = self.encoder(_NOISE_AMPLITUDE * noise).transpose(1, 2).flatten(0, 1)
        residual = latents.repeat(_BINS // _NOISE_FRAMES, 1)
        shrunk = torch.linspace(0.5, 1.0, _BINS)[:, None]
        layers: Any = self.quantizer.vq.layers
        for layer in layers:
            order = torch.randperm(_BINS, generator=generator)
            layer.codebook.copy_(residual[order] * shrunk)
            residual = residual - layer.decode(layer.encode(residual.T[None]))[0].T


def _norm(*, causal: bool) -> str:
    """Of the convolutions, as the encodec package calls it."""
    return "weight_norm" if causal else "time_group_norm"
