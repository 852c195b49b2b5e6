"""The encoder `mimi`: Kyutai's codec before its quantizer, 512 dimensions at 12.5 Hz.

SEANet convolutions bring 24 kHz to 25 Hz, a causal transformer with a window of 250 frames (10 s)
follows, and a strided convolution halves the rate.

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from latentbench.encoders.kyutai import KyutaiEncoder, SeanetNetwork
from latentbench.encoders.weights import HubFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from latentbench.encoders.plugin import MimiOptions
    from latentbench.workspace import Workspace

__all__ = ["MimiEncoder"]


class MimiEncoder(KyutaiEncoder):
    """Mimi's continuous latents."""

    name = "mimi"
    title = "Mimi"
    weights_file = HubFile(
        repo="kyutai/mimi",
        revision="89091b3e466eb6a9d11e537bf26b144f194978f7",
        name="model.safetensors",
        sha256="bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e",
        beside=("config.json",),
    )
    published_weights = weights_file.repo
    model_type = "mimi"
    # All of the published config.json that shapes the encoder.
    published_architecture = {  # noqa: RUF012 - never changed
        "sampling_rate": 24_000,
        "audio_channels": 1,
        "hidden_size": 512,
        "num_filters": 64,
        "num_residual_layers": 1,
        "upsampling_ratios": [8, 6, 5, 4],
        "kernel_size": 7,
        "last_kernel_size": 3,
        "residual_kernel_size": 3,
        "dilation_growth_rate": 2,
        "use_causal_conv": True,
        "pad_mode": "constant",
        "compress": 2,
        "use_conv_shortcut": False,
        "vector_quantization_hidden_dimension": 256,
        "num_hidden_layers": 8,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "hidden_act": "gelu",
        "max_position_embeddings": 8000,
        "norm_eps": 1e-5,
        "sliding_window": 250,
        "attention_bias": False,
        "layer_scale_initial_scale": 0.01,
        "rope_theta": 10_000.0,
    }
    fixed = ("sampling_rate", "audio_channels", "upsampling_ratios", "use_causal_conv")
    takes = "Mimi takes mono audio at 24 kHz and strides of 4, 5, 6, 8 and 2."
    options: MimiOptions

    def __init__(self, options: MimiOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self.dim = int(self.architecture["hidden_size"])

    def network(self) -> nn.Module:
        """Mimi's encoder half."""
        return MimiNetwork(self.architecture, self.options.view)

    def settings(self) -> Mapping[str, str]:
        """The view, and what all such encoders have."""
        return {"view": self.options.view, **super().settings()}


class MimiNetwork(SeanetNetwork):
    """Audio to the output of Mimi's encoder and its projections; no decoder, no codebooks.

    Args:
        architecture: as `MimiEncoder.architecture`.
        view: `encoder` (e), `semantic` and `acoustic` (output_proj(input_proj(e)) of that
            quantizer), or `projected`, their sum.
    """

    def __init__(self, architecture: Mapping[str, Any], view: str) -> None:
        from transformers import MimiConfig, MimiModel  # noqa: PLC0415 - seconds of import, only once there are weights

        # transformers up to 5.20 does not take the groups from the size.
        groups = architecture["hidden_size"]
        config = MimiConfig(**_without_codebooks(architecture), upsample_groups=groups)
        if hasattr(MimiConfig, "decoder_config"):
            config.decoder_config = None
        model: Any = MimiModel(config)
        super().__init__(model.encoder, model)
        self._view = view
        self.quantizer: Any = model.quantizer
        for quantizer in (self._semantic, self._acoustic):
            quantizer.layers = nn.ModuleList()  # the codebooks

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


def _without_codebooks(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a configuration with next to no codebooks."""
    given = dict(architecture)
    return given | {
        "rope_parameters": {"rope_type": "default", "rope_theta": given.pop("rope_theta")},
        "num_quantizers": 2,
        "num_semantic_quantizers": 1,
        "codebook_size": 2,
        "attn_implementation": "sdpa",
    }
