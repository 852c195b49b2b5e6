"""The encoder `mimi`: Kyutai's codec before its quantizer, 512 dimensions at 12.5 Hz.

SEANet convolutions bring 24 kHz to 25 Hz, a causal transformer with a window of 250 frames (10 s)
follows, and a strided convolution halves the rate.

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from latentbench.encoders.kyutai import (
    AUDIO,
    CONVOLUTIONS,
    TRANSFORMER,
    KyutaiEncoder,
    SeanetDecoder,
    SeanetNetwork,
    for_transformers,
)
from latentbench.encoders.weights import HubFile
from latentbench.errors import UsageError

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
    published_architecture = {  # noqa: RUF012 - never changed
        **AUDIO,
        **CONVOLUTIONS,
        "vector_quantization_hidden_dimension": 256,
        **TRANSFORMER,
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

    def build_decoder(self) -> nn.Module:
        """Mimi's decoder half; see `DecodingEncoder.build_decoder`.

        Raises:
            UsageError: the view is one of two parts of what the decoder takes.
        """
        if self.options.view in {"semantic", "acoustic"}:
            raise UsageError(
                f"encoder.view={self.options.view} cannot be heard: Mimi's decoder takes "
                "the sum of the semantic and the acoustic projection.",
                "Take --set encoder.view=projected, that sum, or encoder, which leads to it.",
            )
        return MimiDecoder(self.architecture, self.options.view)

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
        model = _model(architecture, without="decoder")
        super().__init__(model.encoder, model)
        self._view = view
        self.quantizer = model.quantizer

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode [B, T], T a multiple of 1920, to the view's [B, T/1920, D]."""
        latents = self.encoded(audio)
        if self._view == "projected":
            latents = _both(self.quantizer, latents)
        elif self._view != "encoder":
            part = _semantic if self._view == "semantic" else _acoustic
            latents = _projected(part(self.quantizer), latents)
        return latents.transpose(1, 2)


class MimiDecoder(SeanetDecoder):
    """Latents to audio by Mimi's decoder, without codebooks.

    Args:
        architecture: as `MimiEncoder.architecture`.
        view: `projected`, which the decoder takes, or `encoder`, which is projected first.
    """

    def __init__(self, architecture: Mapping[str, Any], view: str) -> None:
        model = _model(architecture, without="encoder")
        super().__init__(model.decoder, model)
        self.quantizer = model.quantizer if view == "encoder" else None

    def widened(self, latents: torch.Tensor) -> torch.Tensor:
        """The sum of both projections; see `SeanetDecoder.widened`."""
        return latents if self.quantizer is None else _both(self.quantizer, latents)


def _model(architecture: Mapping[str, Any], without: str) -> Any:
    """Transformers' Mimi without one of its halves, where it can be had so, and codebooks."""
    from transformers import MimiConfig, MimiModel  # noqa: PLC0415 - seconds of import, only once there are weights

    # transformers up to 5.20 does not take the groups from the size.
    groups = architecture["hidden_size"]
    few = {"num_quantizers": 2, "num_semantic_quantizers": 1, "codebook_size": 2}
    config = MimiConfig(**for_transformers(architecture) | few, upsample_groups=groups)
    if hasattr(MimiConfig, f"{without}_config"):
        setattr(config, f"{without}_config", None)
    model: Any = MimiModel(config)
    for quantizer in (_semantic(model.quantizer), _acoustic(model.quantizer)):
        quantizer.layers = nn.ModuleList()  # the codebooks
    return model


def _semantic(quantizer: Any) -> Any:
    return quantizer.semantic_residual_vector_quantizer


def _acoustic(quantizer: Any) -> Any:
    return quantizer.acoustic_residual_vector_quantizer


def _both(quantizer: Any, e: torch.Tensor) -> torch.Tensor:
    return _projected(_semantic(quantizer), e) + _projected(_acoustic(quantizer), e)


def _projected(quantizer: Any, e: torch.Tensor) -> torch.Tensor:
    projected: torch.Tensor = quantizer.output_proj(quantizer.input_proj(e))
    return projected
