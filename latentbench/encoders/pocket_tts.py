"""The encoder `pocket-tts`: the VAE of Kyutai's Pocket TTS, 32 dimensions at 12.5 Hz.

SEANet convolutions bring 24 kHz to 200 Hz, a causal transformer of 2 layers with a window of 250
frames (1.25 s) follows, and a convolution of stride 16 gives the mean of the latent. The published
checkpoint no longer holds the variance.

The published file holds the whole text-to-speech model. Its codec is under `mimi.…`, with queries,
keys and values stacked in one matrix, and rotary pairs side by side where transformers has them
half a head apart. A checkpoint saved by transformers is read too.

Source: Rouard et al., "Continuous Audio Language Models", arXiv 2509.06926.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentbench.encoders.kyutai import (
    AUDIO,
    CONVOLUTIONS,
    TRANSFORMER,
    KyutaiEncoder,
    SeanetDecoder,
    SeanetNetwork,
    for_transformers,
)
from latentbench.encoders.state_dicts import (
    WeightsMismatchError,
    of_parts,
    read_tensors,
    tensor_names,
)
from latentbench.encoders.weights import HubFile
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from latentbench.encoders.plugin import PocketTTSOptions
    from latentbench.workspace import Workspace

__all__ = ["PocketTTSEncoder"]

WEIGHTS = HubFile(
    repo="kyutai/pocket-tts",
    revision="39592ff23c9ef80098bb74895d104c26275fe2c9",
    name="languages/english/model.safetensors",
    sha256="473f47d99560bd50eb8b4509d3cacfe7f316ab20bdca86505403a2e6a936a6e9",
    access=(
        "The repository asks its users to accept terms: do so, signed in, at "
        "https://huggingface.co/kyutai/pocket-tts, then run `hf auth login`."
    ),
)

# Longest first: a name is translated by the first that fits.
FROM_TRANSFORMERS = {
    "encoder.encoder_seanet.": "encoder.",
    "encoder.encoder_transformer.": "encoder_transformer.",
    "encoder.downsample.": "downsample.",
    "encoder_seanet.": "encoder.",
    "encoder_transformer.": "encoder_transformer.",
    "downsample.": "downsample.",
    "encoder.": "encoder.",  # no name of transformers': it will not be known
    "decoder.decoder_seanet.": "decoder.",
    "decoder.decoder_transformer.": "decoder_transformer.",
    "decoder.upsample.": "upsample.",
    "latent_proj.": "latent_proj.",
}
ORIGINAL = {
    "mimi.encoder.model.": "encoder.layers.",
    "mimi.encoder.": "encoder.",
    "mimi.encoder_transformer.transformer.layers.": "encoder_transformer.layers.",
    "mimi.downsample.conv.conv.": "downsample.conv.",
    "mimi.decoder.model.": "decoder.layers.",
    "mimi.decoder_transformer.transformer.layers.": "decoder_transformer.layers.",
    "mimi.upsample.convtr.convtr.": "upsample.conv.",
    "mimi.quantizer.output_proj.": "latent_proj.",
    # What else those parts hold: it will not be known.
    "mimi.encoder_transformer.": "encoder_transformer.",
    "mimi.downsample.": "downsample.",
    "mimi.decoder_transformer.": "decoder_transformer.",
    "mimi.upsample.": "upsample.",
}
TRANSPOSED = ".convtr."  # convolutions that go up, which transformers calls conv too
IN_LAYER = {
    "self_attn.out_proj": "self_attn.o_proj",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "linear1": "mlp.fc1",
    "linear2": "mlp.fc2",
    "layer_scale_1": "self_attn_layer_scale",
    "layer_scale_2": "mlp_layer_scale",
}
STACKED = ".self_attn.in_proj.weight"


class PocketTTSEncoder(KyutaiEncoder):
    """The mean of the VAE's latent, as Pocket TTS conditions on it: nothing is sampled."""

    name = "pocket-tts"
    title = "Pocket TTS codec"
    weights_file = WEIGHTS
    published_weights = WEIGHTS.repo
    model_type = "pocket_tts_audio_tokenizer"
    # The codec of pocket_tts/config/english.yaml in github.com/kyutai-labs/pocket-tts; the
    # activation is the one of its current code and of transformers.
    published_architecture = {  # noqa: RUF012 - never changed
        **AUDIO,
        "latent_dim": 32,
        "latent_stride": 16,
        **CONVOLUTIONS,
        "upsampling_ratios": [6, 5, 4],
        **TRANSFORMER,
        "num_hidden_layers": 2,
        "hidden_act": "gelu_pytorch_tanh",
    }
    fixed = (
        "sampling_rate",
        "audio_channels",
        "upsampling_ratios",
        "latent_stride",
        "use_causal_conv",
    )
    takes = "It takes mono audio at 24 kHz and strides of 4, 5, 6 and 16."

    def __init__(self, options: PocketTTSOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self.dim = int(self.architecture["latent_dim"])

    def network(self) -> nn.Module:
        """The codec's encoder."""
        return SeanetNetwork(self._model(decoder_config=None).encoder)

    def build_decoder(self) -> nn.Module:
        """The codec's decoder; see `DecodingEncoder.build_decoder`."""
        groups = self.architecture["hidden_size"]
        return PocketTTSDecoder(self._model(encoder_config=None, upsample_groups=groups))

    def _model(self, **more: Any) -> Any:
        """Transformers' model, of which `more` may leave out one half."""
        from transformers import (  # noqa: PLC0415 - seconds of import, only once there are weights
            PocketTTSAudioTokenizerConfig,
            PocketTTSAudioTokenizerModel,
        )

        make_config: Any = PocketTTSAudioTokenizerConfig
        config = make_config(**for_transformers(self.architecture), **more)
        return PocketTTSAudioTokenizerModel(config)

    def tensors(self, file: Path, network: nn.Module) -> Mapping[str, torch.Tensor]:
        """See `NetworkEncoder.tensors`; the file's names may be Kyutai's own."""
        return _weights(file, network, int(self.architecture["head_dim"]))


class PocketTTSDecoder(SeanetDecoder):
    """Latents to audio by the codec's decoder.

    Args:
        model: transformers' codec, with its decoder.

    Attributes:
        latent_proj: from the dimensions of the latent to those of the decoder.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model.decoder, model)
        self.latent_proj = model.latent_proj

    def widened(self, latents: torch.Tensor) -> torch.Tensor:
        """The projection of the latents; see `SeanetDecoder.widened`."""
        wide: torch.Tensor = self.latent_proj(latents)
        return wide


def _weights(file: Path, network: nn.Module, head_dim: int) -> dict[str, torch.Tensor]:
    """The weights of the network's parts, by its names.

    Args:
        file: the published file or one saved by transformers.
        network: the encoder or the decoder.
        head_dim: of the transformer.

    Raises:
        UsageError: the file is damaged, or is the one whose encoder was taken out.
    """
    names = tensor_names(file)
    original = any(name.startswith("mimi.") for name in names)
    called = ORIGINAL if original else FROM_TRANSFORMERS
    own = {name: _renamed(name, called) for name in names}
    kept = set(of_parts(own.values(), network))
    found = read_tensors(file, (name for name in names if own[name] in kept))
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in found.items():
        if original and ".transformer.layers." in name:
            weights |= _layer_weight(own[name], tensor, head_dim)
        else:
            weights[own[name]] = tensor
    if weights and not any(tensor.float().any() for tensor in weights.values()):
        raise UsageError(
            f"The encoder in '{file}' is all zeros: this is the checkpoint without voice "
            "cloning, which has no encoder.",
            f"Use {WEIGHTS}. {WEIGHTS.access}",
        )
    return weights


def _renamed(name: str, called: Mapping[str, str]) -> str:
    """The network's name of a weight; empty for one of no part of the codec."""
    for theirs, ours in called.items():
        if name.startswith(theirs):
            return (ours + name.removeprefix(theirs)).replace(TRANSPOSED, ".conv.")
    return ""


def _layer_weight(name: str, tensor: torch.Tensor, head_dim: int) -> dict[str, torch.Tensor]:
    """The weights that one of the original transformer's stands for.

    Raises:
        WeightsMismatchError: stacked projections that are no three of whole heads.
    """
    part_of, _, rest = name.partition(".layers.")
    layer, _, part = rest.partition(".")
    prefix = f"{part_of}.layers.{layer}"
    if name.endswith(STACKED):
        if tensor.ndim != 2 or tensor.shape[0] % (3 * head_dim):  # noqa: PLR2004 - rows, columns
            raise WeightsMismatchError(f"{name} {list(tensor.shape)}: heads have {head_dim} rows")
        query, key, value = tensor.chunk(3)
        turned = {"q": _half_split(query, head_dim), "k": _half_split(key, head_dim), "v": value}
        return {f"{prefix}.self_attn.{one}_proj.weight": rows for one, rows in turned.items()}
    module, _, kind = part.rpartition(".")
    return {f"{prefix}.{IN_LAYER.get(module, module)}.{kind}": tensor}


def _half_split(rows: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Rotary pairs (2i, 2i+1) of each head moved to (i, i + head_dim / 2)."""
    paired = rows.reshape(-1, head_dim // 2, 2, rows.shape[1])
    return paired.transpose(1, 2).reshape(rows.shape)
