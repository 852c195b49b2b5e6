"""A second implementation of Mimi's encoder, in float64, without transformers' modules.

Written from arXiv 2410.00037 (section 3.3) and the published config.json: plain functions on a
dictionary of weights named as in the published checkpoint. Slow and explicit on purpose.

The encoder of Pocket TTS (arXiv 2509.06926) is the same with other strides and widths, one
convolution to the latent in place of quantizers, and another approximation of the GELU.
"""

from __future__ import annotations

import math

import torch

SMALL = {
    "model_type": "mimi",
    "hidden_size": 32,
    "num_filters": 4,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 48,
    "sliding_window": 250,
    "vector_quantization_hidden_dimension": 12,
}
FULL = {
    "model_type": "mimi",
    "hidden_size": 512,
    "num_filters": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2048,
    "sliding_window": 250,
    "vector_quantization_hidden_dimension": 256,
}
POCKET_TTS_SMALL = {
    "model_type": "pocket_tts_audio_tokenizer",
    "hidden_size": 32,
    "latent_dim": 6,
    "num_filters": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 48,
    "sliding_window": 250,
    "hidden_act": "gelu_pytorch_tanh",
}
STRIDES = (4, 5, 6, 8)
POCKET_TTS_STRIDES = (4, 5, 6)
KERNEL, RESIDUAL_KERNEL, LAST_KERNEL = 7, 3, 3


def random_weights(config, seed=0):
    """Every weight of the encoder half drawn at random, layer scales and norms included."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}

    def normal(name, *shape, scale=1.0, centre=0.0):
        weights[name] = centre + scale * torch.randn(*shape, generator=generator)

    def conv(name, out, into, kernel, *, bias=True):
        normal(f"{name}.weight", out, into, kernel, scale=1.2 / math.sqrt(into * kernel))
        if bias:
            normal(f"{name}.bias", out, scale=0.1)

    channels, dim = config["num_filters"], config["hidden_size"]
    conv("encoder.layers.0.conv", channels, 1, KERNEL)
    for index, stride in enumerate(strides(config)):
        first = 1 + 3 * index
        conv(f"encoder.layers.{first}.block.1.conv", channels // 2, channels, RESIDUAL_KERNEL)
        conv(f"encoder.layers.{first}.block.3.conv", channels, channels // 2, 1)
        conv(f"encoder.layers.{first + 2}.conv", 2 * channels, channels, 2 * stride)
        channels *= 2
    conv(f"encoder.layers.{last_layer(config)}.conv", dim, channels, LAST_KERNEL)
    inner, width = config["intermediate_size"], config["num_attention_heads"] * config["head_dim"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder_transformer.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            normal(f"{name}.{norm}.weight", dim, scale=0.3, centre=1.0)
            normal(f"{name}.{norm}.bias", dim, scale=0.3)
        for part in ("q_proj", "k_proj", "v_proj"):
            normal(f"{name}.self_attn.{part}.weight", width, dim, scale=1.5 / math.sqrt(dim))
        normal(f"{name}.self_attn.o_proj.weight", dim, width, scale=1 / math.sqrt(width))
        normal(f"{name}.mlp.fc1.weight", inner, dim, scale=1 / math.sqrt(dim))
        normal(f"{name}.mlp.fc2.weight", dim, inner, scale=1 / math.sqrt(inner))
        normal(f"{name}.self_attn_layer_scale.scale", dim, scale=0.3, centre=0.5)
        normal(f"{name}.mlp_layer_scale.scale", dim, scale=0.3, centre=0.5)
    if "latent_dim" in config:
        conv("downsample.conv", config["latent_dim"], dim, 32, bias=False)
        return weights
    conv("downsample.conv", dim, dim, 4, bias=False)
    code = config["vector_quantization_hidden_dimension"]
    for kind in ("semantic", "acoustic"):
        name = f"quantizer.{kind}_residual_vector_quantizer"
        conv(f"{name}.input_proj", code, dim, 1, bias=False)
        conv(f"{name}.output_proj", dim, code, 1, bias=False)
    return weights


def strides(config):
    return POCKET_TTS_STRIDES if "latent_dim" in config else STRIDES


def last_layer(config):
    return 3 * len(strides(config)) + 2


def encode(weights, config, audio):
    """Mono audio [T], T a multiple of 1920, to Mimi's four views, each float64 [T/1920, D]."""
    weights = {name: tensor.double() for name, tensor in weights.items()}
    e = encoder_output(weights, config, audio, 2).T
    views = {"encoder": e}
    for kind in ("semantic", "acoustic"):
        name = f"quantizer.{kind}_residual_vector_quantizer"
        code = weights[f"{name}.input_proj.weight"][:, :, 0] @ e
        views[kind] = weights[f"{name}.output_proj.weight"][:, :, 0] @ code
    views["projected"] = views["semantic"] + views["acoustic"]
    return {name: view.T for name, view in views.items()}


def encode_pocket_tts(weights, config, audio):
    """Mono audio [T], T a multiple of 1920, to the latent's mean, float64 [T/1920, D]."""
    weights = {name: tensor.double() for name, tensor in weights.items()}
    return encoder_output(weights, config, audio, 16)


def encoder_output(weights, config, audio, stride):
    """The output of the last, strided convolution, [T/1920, D]."""
    x = audio.double()[None]
    x = _conv(x, weights, "encoder.layers.0.conv")
    for index, step in enumerate(strides(config)):
        first = 1 + 3 * index
        y = _conv(_elu(x), weights, f"encoder.layers.{first}.block.1.conv")
        x = x + _conv(_elu(y), weights, f"encoder.layers.{first}.block.3.conv")
        x = _conv(_elu(x), weights, f"encoder.layers.{first + 2}.conv", step)
    x = _conv(_elu(x), weights, f"encoder.layers.{last_layer(config)}.conv").T
    for layer in range(config["num_hidden_layers"]):
        x = _transformer_layer(x, weights, f"encoder_transformer.layers.{layer}", config)
    return _conv(x.T, weights, "downsample.conv", stride, repeat_first=True).T


def _gelu(x, config):
    if config.get("hidden_act") == "gelu_pytorch_tanh":  # Hendrycks & Gimpel, arXiv 1606.08415
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def _elu(x):
    return torch.where(x > 0, x, torch.expm1(x.clamp(max=0)))


def _conv(x, weights, name, stride=1, *, repeat_first=False):
    """Causal convolution of [C, T]: kernel - stride samples of history before the first."""
    weight = weights[f"{name}.weight"]
    kernel = weight.shape[2]
    history = x[:, :1].expand(-1, kernel - stride) * (1.0 if repeat_first else 0.0)
    frames = torch.cat([history, x], dim=1).unfold(1, kernel, stride)
    out = torch.einsum("oik,itk->ot", weight, frames)
    bias = weights.get(f"{name}.bias")
    return out if bias is None else out + bias[:, None]


def _norm(x, weights, name):
    centred = x - x.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    scaled = centred / (variance + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _rotated(x):
    """Rotary position: dimensions i, i + d/2 as a complex number turned by t 10000^(-2i/d)."""
    half = x.shape[1] // 2
    turns = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None] * turns
    z = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], dim=1)


def _attention(x, weights, name, config):
    query, key, value = (x @ weights[f"{name}.{part}_proj.weight"].T for part in "qkv")
    t = torch.arange(len(x))
    ago = t[:, None] - t[None, :]
    seen = (ago >= 0) & (ago < config["sliding_window"])
    size = config["head_dim"]
    heads = []
    for start in range(0, query.shape[1], size):
        head = slice(start, start + size)
        scores = _rotated(query[:, head]) @ _rotated(key[:, head]).T / math.sqrt(size)
        weight = torch.where(seen, (scores - scores.amax(1, keepdim=True)).exp(), 0.0)
        heads.append(weight / weight.sum(1, keepdim=True) @ value[:, head])
    return torch.cat(heads, dim=1) @ weights[f"{name}.o_proj.weight"].T


def _transformer_layer(x, weights, name, config):
    attended = _attention(
        _norm(x, weights, f"{name}.input_layernorm"), weights, f"{name}.self_attn", config
    )
    x = x + weights[f"{name}.self_attn_layer_scale.scale"] * attended
    hidden = (
        _norm(x, weights, f"{name}.post_attention_layernorm") @ weights[f"{name}.mlp.fc1.weight"].T
    )
    hidden = _gelu(hidden, config)
    return x + weights[f"{name}.mlp_layer_scale.scale"] * (
        hidden @ weights[f"{name}.mlp.fc2.weight"].T
    )
