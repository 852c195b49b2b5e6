"""Mimi's encoder half, made of transformers' modules: waveform to continuous latents.

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3. SEANet convolutions bring
24 kHz to 25 Hz, a causal transformer with a window of 250 frames (10 s) follows, and a strided
convolution halves the rate to 12.5 Hz. Neither decoder nor codebooks are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import MimiConfig, MimiModel

from latentbench.encoders.seanet import SeanetNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MimiNetwork"]


class MimiNetwork(SeanetNetwork):
    """Audio to the output of Mimi's encoder and its projections.

    Parameters are named as in the published checkpoint, whichever way the installed
    transformers nests its modules (it changed in 5.20).

    Args:
        architecture: as `mimi_weights.MIMI.architecture`.
        view: `encoder` (e), `semantic` and `acoustic` (output_proj(input_proj(e)) of that
            quantizer), or `projected`, their sum.
    """

    def __init__(self, architecture: Mapping[str, Any], view: str) -> None:
        super().__init__()
        self._view = view
        model: Any = MimiModel(_config(architecture))
        half = model.encoder
        nested = hasattr(half, "encoder_seanet")
        self.encoder = half.encoder_seanet if nested else half
        self.encoder_transformer = (half if nested else model).encoder_transformer
        self.downsample = (half if nested else model).downsample
        self.quantizer: Any = model.quantizer
        for quantizer in (self._semantic, self._acoustic):
            quantizer.layers = nn.ModuleList()  # the codebooks
        self.eval().requires_grad_(requires_grad=False)

    @property
    def _semantic(self) -> Any:
        return self.quantizer.semantic_residual_vector_quantizer

    @property
    def _acoustic(self) -> Any:
        return self.quantizer.acoustic_residual_vector_quantizer

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode [B, T], T a multiple of 1920, to the view's [B, T/1920, D]."""
        latents = self.encoded(audio)
        if self._view == "projected":
            latents = _projected(self._semantic, latents) + _projected(self._acoustic, latents)
        elif self._view != "encoder":
            quantizer = self._semantic if self._view == "semantic" else self._acoustic
            latents = _projected(quantizer, latents)
        return latents.transpose(1, 2)


def _projected(quantizer: Any, e: torch.Tensor) -> torch.Tensor:
    projected: torch.Tensor = quantizer.output_proj(quantizer.input_proj(e))
    return projected


def _config(architecture: Mapping[str, Any]) -> MimiConfig:
    """The config of a model without decoder and with next to no codebooks."""
    given = dict(architecture)
    given |= {
        "rope_parameters": {"rope_type": "default", "rope_theta": given.pop("rope_theta")},
        "num_quantizers": 2,
        "num_semantic_quantizers": 1,
        "codebook_size": 2,
        "attn_implementation": "sdpa",
    }
    config = MimiConfig(**given)
    if hasattr(MimiConfig, "decoder_config"):
        config.decoder_config = None
    return config
