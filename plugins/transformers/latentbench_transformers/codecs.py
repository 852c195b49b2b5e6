"""Which models are codecs, and which of their modules gives the quantizer its latents."""

from __future__ import annotations

from typing import Any

__all__ = ["BEFORE_QUANTIZER", "family", "is_codec"]

# By model_type. An encoder half has no such module: its own output is the latents.
BEFORE_QUANTIZER = {
    "dac": "encoder",
    "encodec": "encoder",
    "higgs_audio_v2_tokenizer": "fc",
    "mimi": "encoder",
    "neucodec": "fc_encoder",
    "pocket_tts_audio_tokenizer": "encoder",
    "vibevoice_acoustic_tokenizer": "encoder",
    "wavtokenizer": "encoder_model.encoder",
    "wavtokenizer_encoder": "encoder",
    "xcodec": "fc",
}


def family(model: Any) -> str:
    """The model_type, the same for a codec and for its encoder alone."""
    return str(model.config.model_type).removesuffix("_encoder")


def is_codec(model: Any) -> bool:
    """Whether audio goes in as [1, channels, n], in whole hops."""
    return hasattr(model, "encode") or family(model) in BEFORE_QUANTIZER
