"""The two published architectures, built from the encodec package: a decoder only if asked for."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
from encodec.quantization.vq import ResidualVectorQuantizer
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MONO_24K", "STEREO_48K", "Architecture", "EncodecNetwork", "decoder"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What tells one published model from the other.

    Attributes:
        sample_rate: in Hz.
        channels: of the audio.
        causal: whether convolutions see the past only.
        norm: of the convolutions, as the encodec package calls it.
        codebooks: how many the quantizer has at its highest bandwidth.
        checkpoint: the file's name; the part after the hyphen begins its sha256.
    """

    sample_rate: int
    channels: int
    causal: bool
    norm: str
    codebooks: int
    checkpoint: str


MONO_24K = Architecture(
    sample_rate=24_000,
    channels=1,
    causal=True,
    norm="weight_norm",
    codebooks=32,
    checkpoint="encodec_24khz-d7cc33bc.th",
)
STEREO_48K = Architecture(
    sample_rate=48_000,
    channels=2,
    causal=False,
    norm="time_group_norm",
    codebooks=16,
    checkpoint="encodec_48khz-7e698e3e.th",
)

_BINS = 1024
_HOP = 320
_NOISE_AMPLITUDE = 0.1  # about that of speech
_NOISE_FRAMES = 256


@contextmanager
def _older_weight_norm() -> Iterator[None]:
    """The checkpoints hold weight_g and weight_v, the names of torch's older weight norm."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        yield


def decoder(architecture: Architecture) -> nn.Module:
    """The decoder, of the same convolutions as the encoder."""
    with _older_weight_norm():
        return SEANetDecoder(
            channels=architecture.channels, norm=architecture.norm, causal=architecture.causal
        )


class EncodecNetwork(nn.Module):
    """Encoder and residual vector quantizer, named as in the published checkpoints.

    Source: Défossez et al., High Fidelity Neural Audio Compression, arXiv 2210.13438.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        with _older_weight_norm():
            self.encoder = SEANetEncoder(
                channels=architecture.channels,
                norm=architecture.norm,
                causal=architecture.causal,
            )
        self.quantizer = ResidualVectorQuantizer(
            dimension=self.encoder.dimension, n_q=architecture.codebooks, bins=_BINS
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
