"""The base of `mimi` and `pocket-tts`: SEANet convolutions, a causal transformer, a last stride.

Their decoders are the same in a mirror.

Networks are made of transformers' modules, and weights are read under the names of Mimi's
published file (`encoder.layers.0.conv.weight`, `encoder_transformer.…`, `downsample.…`),
whichever way the installed transformers nests its modules (it changed in 5.20).

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from latentbench.encoders.network_decoder import DecodingEncoder
from latentbench.encoders.state_dicts import (
    SAFETENSORS,
    of_parts,
    read_tensors,
    tensor_names,
    weights_digest,
)
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.encoders.plugin import MimiOptions, PocketTTSOptions
    from latentbench.encoders.weights import HubFile
    from latentbench.workspace import Workspace

__all__ = [
    "AUDIO",
    "CONVOLUTIONS",
    "TRANSFORMER",
    "KyutaiEncoder",
    "SeanetDecoder",
    "SeanetNetwork",
    "for_transformers",
]

# What the published config.json of both says of the encoder; where Pocket TTS differs, Mimi's.
AUDIO: dict[str, Any] = {"sampling_rate": 24_000, "audio_channels": 1, "hidden_size": 512}
CONVOLUTIONS: dict[str, Any] = {
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
}
TRANSFORMER: dict[str, Any] = {
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


class SeanetNetwork(nn.Module):
    """Audio to latents at the final rate.

    Args:
        half: transformers' encoder, which may hold the three parts or only the convolutions.
        model: transformers' model around it, which then holds the others.

    Attributes:
        encoder: SEANet convolutions, [B, 1, T] to [B, C, F].
        encoder_transformer: causal, [B, F, C] to a tuple that begins with the same shape.
        downsample: the strided convolution to the final rate, [B, C, F] to [B, D, F'].
    """

    def __init__(self, half: Any, model: Any = None) -> None:
        super().__init__()
        nested = hasattr(half, "encoder_seanet")
        self.encoder = half.encoder_seanet if nested else half
        self.encoder_transformer = (half if nested else model).encoder_transformer
        self.downsample = (half if nested else model).downsample

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode [B, T], T a whole number of hops, to [B, T / hop, D]."""
        return self.encoded(audio).transpose(1, 2)

    def encoded(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode [B, T], T a whole number of hops, to [B, D, T / hop]."""
        hidden = self.encoder(audio[:, None]).transpose(1, 2)
        hidden = self.encoder_transformer(hidden)[0].transpose(1, 2)
        latents: torch.Tensor = self.downsample(hidden)
        return latents


class SeanetDecoder(nn.Module):
    """Latents to audio: what `SeanetNetwork` does, backwards and as causally.

    Args:
        half: transformers' decoder, which may hold the three parts or only the convolutions.
        model: transformers' model around it, which then holds the others.

    Attributes:
        upsample: from the final rate to that of the transformer, [B, C, F'] to [B, C, F].
        decoder_transformer: causal, [B, F, C] to a tuple that begins with the same shape.
        decoder: SEANet convolutions, [B, C, F] to [B, 1, T].
    """

    def __init__(self, half: Any, model: Any) -> None:
        super().__init__()
        nested = hasattr(half, "decoder_seanet")
        self.upsample = (half if nested else model).upsample
        self.decoder_transformer = (half if nested else model).decoder_transformer
        self.decoder = half.decoder_seanet if nested else half

    def widened(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, D, F] as the decoder takes them, [B, C, F]: by default as they are."""
        return latents

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio [B, 1, F * hop] of latents [B, F, D]."""
        hidden = self.upsample(self.widened(latents.mT)).mT
        hidden = self.decoder_transformer(hidden)[0].mT
        sound: torch.Tensor = self.decoder(hidden)
        return sound


class KyutaiEncoder(DecodingEncoder):
    """A causal encoder of whole utterances in float32; nothing is ever quantized.

    Every part is causal, so frame t sees audio up to its own end, and padding on the right
    changes no frame before it.

    Attributes:
        title: what errors call the model, e.g. `Mimi`.
        weights_file: the published weights.
        model_type: as in their config.json.
        published_architecture: all of their configuration that shapes the encoder.
        fixed: names in it that decide rate and channels, and must be as published.
        takes: a sentence that says the same to the user.
        architecture: of the config.json beside local weights, else the published one.

    Raises:
        UsageError: local weights that are not there or are of another model.
    """

    title: ClassVar[str]
    weights_file: ClassVar[HubFile]
    model_type: ClassVar[str]
    published_architecture: ClassVar[Mapping[str, Any]]
    fixed: ClassVar[tuple[str, ...]]
    takes: ClassVar[str]
    options: MimiOptions | PocketTTSOptions
    libraries = ("transformers",)
    suffixes = SAFETENSORS
    sample_rate = 24_000
    hop = 1_920
    max_batch_seconds = 16.0  # more only leaves the caches: 8 x 14 s take longer than one by one
    gpu_batch_seconds = 120.0

    def __init__(self, options: MimiOptions | PocketTTSOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        file = self.local_file()
        self._config = file.with_name("config.json") if file else None
        self.architecture = self._described()

    @abstractmethod
    def network(self) -> nn.Module:
        """The network of `self.architecture`, by the rules of `NetworkEncoder.build`."""

    def published(self) -> HubFile:
        """The published weights."""
        return self.weights_file

    def build(self) -> nn.Module:
        """The network; one of another architecture than the published one is tried on a hop.

        Raises:
            UsageError: there is no such network; names what the config.json changes.
        """
        try:
            network = self.network().eval().requires_grad_(requires_grad=False)
            if self._changed:
                network(torch.zeros(1, self.hop))
        except Exception as error:
            if not self._changed:
                raise
            changed = ", ".join(f"{key}={value}" for key, value in self._changed.items())
            raise UsageError(
                f"There is no {self.title} with {changed}, as '{self._config}' has it: "
                f"{type(error).__name__}: {error}",
                "Take the config.json that belongs to the weights.",
            ) from error
        return network

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` samples: a partial last one counts unless it is dropped."""
        if self.options.partial_frame == "drop":
            return samples // self.hop
        return super().frame_count(samples)

    def latents(
        self,
        network: nn.Module,
        waves: torch.Tensor,
        samples: Sequence[int],  # noqa: ARG002 - causal: what is padded changes nothing before it
    ) -> torch.Tensor:
        """The whole batch at once; see `NetworkEncoder.latents`."""
        latents: torch.Tensor = network(waves[:, 0])
        return latents

    def tensors(self, file: Path, network: nn.Module) -> Mapping[str, torch.Tensor]:
        """The weights of the network's parts, without codebooks; see `NetworkEncoder.tensors`."""
        names = of_parts(tensor_names(file), network)
        return read_tensors(
            file,
            (one for one in names if not (one.startswith("quantizer.") and ".layers." in one)),
        )

    def random_weights(self, network: nn.Module) -> str:
        """A digest: what transformers draws from a seed may change with its version."""
        return f"sha256:{weights_digest(network)}"

    def settings(self) -> Mapping[str, str]:
        """The architecture, and whether a partial frame is kept."""
        return {
            "architecture": str(self._changed or "published"),
            "partial_frame": self.options.partial_frame,
        }

    @property
    def _changed(self) -> Mapping[str, Any]:
        """Values of the architecture that are not the published ones."""
        published = self.published_architecture
        return {key: value for key, value in self.architecture.items() if value != published[key]}

    def _described(self) -> dict[str, Any]:
        """The architecture in the config.json beside local weights; the published one without.

        Raises:
            UsageError: the config.json is unreadable, of another kind of model, or has a value
                that is none; names it.
        """
        if self._config is None or not self._config.is_file():
            return dict(self.published_architecture)
        given = _flat(self._config)
        wanted = {
            "model_type": self.model_type,
            "rope_type": "default",
            **self.published_architecture,
        }
        fixed = {"model_type", "rope_type", *self.fixed}
        by_heads = given.get("head_dim") is None
        wrong = [
            key
            for key, published in wanted.items()
            if key in given and not (key == "head_dim" and by_heads)
            if not _is_like(given[key], published) or (key in fixed and given[key] != published)
        ]
        if wrong:
            found, right = (
                ", ".join(f"{key}={values[key]}" for key in wrong) for values in (given, wanted)
            )
            raise UsageError(
                f"'{self._config}' describes no {self.title}: {found}.",
                f"{self.takes} Published: {right}.",
            )
        described = {
            key: given.get(key, value) for key, value in self.published_architecture.items()
        }
        if by_heads:
            described["head_dim"] = described["hidden_size"] // described["num_attention_heads"]
        return described


def for_transformers(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture as the arguments of transformers' configuration."""
    given = dict(architecture)
    rope = {"rope_type": "default", "rope_theta": given.pop("rope_theta")}
    return {**given, "rope_parameters": rope, "attn_implementation": "sdpa"}


def _flat(config: Path) -> dict[str, Any]:
    """Read a config.json, with the parameters of its rotary embedding among the others.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        given = json.loads(config.read_text("utf-8"))
        return {
            **given,
            **(given.get("rope_scaling") or {}),
            **(given.get("rope_parameters") or {}),
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"'{config}' cannot be read: {error}") from None


def _is_like(value: Any, published: Any) -> bool:
    """Whether a value is of the published one's kind: a switch, a size, a factor, a name, sizes."""
    if isinstance(published, list):
        return isinstance(value, list) and all(_is_like(one, published[0]) for one in value)
    if isinstance(published, float) and not isinstance(value, bool):
        return isinstance(value, (int, float)) and 0 < value < math.inf
    if isinstance(published, int) and not isinstance(published, bool):
        return type(value) is int and value > 0
    return type(value) is type(published)
