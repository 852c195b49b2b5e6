"""What the distribution brings to latentbench: `encodec-24k` and `encodec-48k`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from latentbench.encoders import CodecOptions
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EncodecOptions", "latentbench_encoders"]


@dataclass(frozen=True)
class EncodecOptions(CodecOptions):
    """The options of both encoders."""

    weights: Annotated[
        str, "'pretrained' (the encodec package's own download), a local .th, or 'random'"
    ] = "pretrained"


@hookimpl
def latentbench_encoders() -> Iterable[EncoderSpec]:
    """Yield the two published models."""
    yield EncoderSpec(
        name="encodec-24k",
        summary="EnCodec 24 kHz mono: 75 Hz, D = 128, causal",
        factory="latentbench_encodec.encoder:Encodec24k",
        options=EncodecOptions,
        weights_licence="CC-BY-NC-4.0",
        decodes=True,
    )
    yield EncoderSpec(
        name="encodec-48k",
        summary="EnCodec 48 kHz stereo: 150 Hz, D = 128, in chunks of 1 s",
        factory="latentbench_encodec.encoder:Encodec48k",
        options=EncodecOptions,
        weights_licence="CC-BY-NC-4.0",
    )
