"""The encoders that come with latentbench; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le

from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LogMelOptions", "MimiOptions", "PocketTTSOptions", "latentbench_encoders"]


@dataclass(frozen=True)
class MimiOptions:
    """Options of `mimi`."""

    weights: Annotated[
        str,
        "kyutai/mimi (downloaded once, pinned revision), a local folder or .safetensors file, "
        "or random (a control)",
    ] = "kyutai/mimi"
    weights_seed: Annotated[int, Ge(0), "seed of the weights where they are random"] = 0
    view: Annotated[
        Literal["projected", "encoder", "semantic", "acoustic"],
        "which continuous latent: projected = semantic + acoustic projections of the encoder's "
        "output, as Phase 1 used; encoder = that output itself",
    ] = "projected"
    partial_frame: Annotated[
        Literal["keep", "drop"], "the last frame where the audio ends inside it"
    ] = "keep"


@dataclass(frozen=True)
class PocketTTSOptions:
    """Options of `pocket-tts`."""

    weights: Annotated[
        str,
        "kyutai/pocket-tts (downloaded once, pinned revision; the hub asks to accept its terms), "
        "a local folder or .safetensors file, or random (a control)",
    ] = "kyutai/pocket-tts"
    weights_seed: Annotated[int, Ge(0), "seed of the weights where they are random"] = 0
    partial_frame: Annotated[
        Literal["keep", "drop"], "the last frame where the audio ends inside it"
    ] = "keep"


@dataclass(frozen=True)
class LogMelOptions:
    """Options of `logmel`."""

    hop_ms: Annotated[
        float, Gt(0), "milliseconds from frame to frame, a whole number of samples at 16 kHz"
    ] = 80.0
    mels: Annotated[int, Gt(0), Le(512), "mel bands, the dimension of a frame"] = 80


@hookimpl
def latentbench_encoders() -> Iterator[EncoderSpec]:
    """Yield Mimi, the codec of Pocket TTS, and log-mel."""
    yield EncoderSpec(
        name="mimi",
        summary="Mimi, the codec of Moshi: 512-dim latents at 12.5 Hz, before the quantizer",
        factory="latentbench.encoders.mimi:MimiEncoder",
        options=MimiOptions,
        decodes=True,
        weights_licence="CC-BY-4.0",
    )
    yield EncoderSpec(
        name="pocket-tts",
        summary="The VAE of Pocket TTS: 32-dim latents at 12.5 Hz, never quantized",
        factory="latentbench.encoders.pocket_tts:PocketTTSEncoder",
        options=PocketTTSOptions,
        decodes=True,
        requires=("transformers>=5.23",),
        weights_licence="CC-BY-4.0",
    )
    yield EncoderSpec(
        name="logmel",
        summary="Log-mel spectrum of the last 25 ms of each hop; needs no weights",
        factory="latentbench.encoders.logmel:LogMelEncoder",
        options=LogMelOptions,
        decodes=True,
    )
