"""Where Mimi's weights come from: the hub at a pinned revision, a local copy, or a seed.

A checkpoint is read under the names of the published file (`encoder.layers.0.conv.weight`,
`encoder_transformer.…`, `downsample.…`, `quantizer.…`), whatever the installed transformers
calls its modules.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from latentbench.encoders.hub import HubError, HubFile, fetch
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from latentbench.progress import Progress

__all__ = [
    "ARCHITECTURE",
    "PINNED",
    "RANDOM",
    "architecture_of",
    "local_file",
    "pinned_file",
    "read_tensors",
]

PINNED = HubFile(
    repo="kyutai/mimi",
    revision="89091b3e466eb6a9d11e537bf26b144f194978f7",
    name="model.safetensors",
    sha256="bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e",
    size=384_649_828,
)
RANDOM = "random"

ARCHITECTURE: Mapping[str, Any] = {
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
"""All of the published config.json that shapes the encoder (arXiv 2410.00037, section 3.3)."""

FIXED = {
    "sampling_rate": 24_000,
    "audio_channels": 1,
    "upsampling_ratios": [8, 6, 5, 4],
    "use_causal_conv": True,
}


def local_file(weights: str) -> Path | None:
    """The weights file a user names; None for `kyutai/mimi` and `random`.

    Raises:
        UsageError: there is no such folder or file, or no weights in it.
    """
    if weights in {PINNED.repo, RANDOM}:
        return None
    path = Path(weights).expanduser()
    file = path / PINNED.name if path.is_dir() else path
    if file.suffix == ".safetensors" and file.is_file():
        return file
    found = f"holds no {PINNED.name}" if path.is_dir() else "is no folder and no .safetensors file"
    raise UsageError(
        f"encoder.weights={weights}: '{path}' {found}.",
        f"Known: {PINNED.repo}, {RANDOM}, a folder with {PINNED.name}, or a .safetensors file.",
    )


def architecture_of(file: Path | None) -> dict[str, Any]:
    """The architecture in the config.json beside a weights file; the published one without.

    Raises:
        UsageError: the config.json is unreadable or of another kind of model.
    """
    config = None if file is None else file.with_name("config.json")
    if config is None or not config.is_file():
        return dict(ARCHITECTURE)
    try:
        given = json.loads(config.read_text("utf-8"))
        rope = {**given, **(given.get("rope_parameters") or {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"'{config}' cannot be read: {error}") from None
    described = {**ARCHITECTURE, **{key: rope[key] for key in ARCHITECTURE if key in rope}}
    if described["head_dim"] is None or "head_dim" not in given:
        described["head_dim"] = described["hidden_size"] // described["num_attention_heads"]
    wrong = [key for key, value in FIXED.items() if described[key] != value]
    if given.get("model_type", "mimi") != "mimi" or wrong:
        what = ", ".join(f"{key}={described[key]}" for key in wrong) or given["model_type"]
        raise UsageError(
            f"'{config}' describes no Mimi: {what}.",
            "Mimi takes mono audio at 24 kHz and strides of 4, 5, 6, 8 and 2.",
        )
    return described


def pinned_file(
    progress: Progress, *, endpoint: str | None = None, cache: Path | None = None
) -> Path:
    """The published weights, from the hub's cache or the hub.

    Raises:
        UsageError: they cannot be had; says how to go on.
    """
    try:
        return fetch(PINNED, progress, endpoint=endpoint, cache=cache)
    except HubError as error:
        raise UsageError(
            f"The weights of {PINNED.repo} are not here and cannot be downloaded: {error}.",
            "To go on: on a machine with a network run\n"
            f"    hf download {PINNED.repo} config.json {PINNED.name}"
            f" --revision {PINNED.revision} --local-dir mimi\n"
            "copy the folder here and add --set encoder.weights=/path/to/mimi;\n"
            "or take --set encoder.weights=random, a control with the same architecture;\n"
            "or --preset demo, which needs neither network nor weights.",
        ) from error


def read_tensors(file: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of the tensors called `names` that the file holds, float32.

    Raises:
        UsageError: the file is no intact safetensors file.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            held = set(tensors.keys())
            return {name: tensors.get_tensor(name).float() for name in names if name in held}
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"The weights '{file}' cannot be read: {error}.",
            "The file is damaged or incomplete; copy or download it again.",
        ) from None
