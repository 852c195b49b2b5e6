"""The encoder of Pocket TTS's codec, made of transformers' modules.

Source: Kyutai's Pocket TTS, whose codec is the VAE of "Continuous Audio Language Models",
arXiv 2509.06926. SEANet convolutions bring 24 kHz to 200 Hz, a causal transformer of 2 layers
with a window of 250 frames (1.25 s) follows, and a convolution of stride 16 gives the mean of
the latent at 12.5 Hz. The published checkpoint no longer holds the variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PocketTTSAudioTokenizerConfig, PocketTTSAudioTokenizerModel

from latentbench.encoders.seanet import SeanetNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["PocketTTSNetwork"]


class PocketTTSNetwork(SeanetNetwork):
    """Audio to the mean of the VAE's latent; parameters are named as Mimi's are.

    Args:
        architecture: as `pocket_tts_weights.POCKET_TTS.architecture`.
    """

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        given = dict(architecture)
        rope = {"rope_type": "default", "rope_theta": given.pop("rope_theta")}
        make_config: Any = PocketTTSAudioTokenizerConfig
        config = make_config(
            **given, rope_parameters=rope, attn_implementation="sdpa", decoder_config=None
        )
        half: Any = PocketTTSAudioTokenizerModel(config).encoder
        self.encoder = half.encoder_seanet
        self.encoder_transformer = half.encoder_transformer
        self.downsample = half.downsample
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode [B, T], T a multiple of 1920, to [B, T/1920, D]."""
        return self.encoded(audio).transpose(1, 2)
