"""What Kyutai published of Mimi.

A checkpoint is read under the names of the published file (`encoder.layers.0.conv.weight`,
`encoder_transformer.…`, `downsample.…`, `quantizer.…`), whatever the installed transformers
calls its modules.
"""

from __future__ import annotations

from latentbench.encoders.hub import HubFile
from latentbench.encoders.published import Published

__all__ = ["MIMI"]

# All of the published config.json that shapes the encoder (arXiv 2410.00037, section 3.3).
MIMI = Published(
    encoder="mimi",
    title="Mimi",
    file=HubFile(
        repo="kyutai/mimi",
        revision="89091b3e466eb6a9d11e537bf26b144f194978f7",
        name="model.safetensors",
        sha256="bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e",
        size=384_649_828,
    ),
    beside=("config.json",),
    model_type="mimi",
    architecture={
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
    },
    fixed=("sampling_rate", "audio_channels", "upsampling_ratios", "use_causal_conv"),
    takes="Mimi takes mono audio at 24 kHz and strides of 4, 5, 6, 8 and 2.",
)
