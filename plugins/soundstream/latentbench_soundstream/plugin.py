"""What the distribution brings to latentbench: the encoder `soundstream`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SoundStreamOptions", "latentbench_encoders"]


@dataclass(frozen=True)
class SoundStreamOptions:
    """The options of `soundstream`."""

    weights: Annotated[
        str, "'pretrained' (downloaded from google/lyra v1.3.2, checksummed) or a local .tflite"
    ] = "pretrained"
    decoder: Annotated[
        str,
        "'pretrained' (lyragan.tflite beside the weights, else downloaded) or a local .tflite",
    ] = "pretrained"
    dither: Annotated[bool, "add noise uniform over one lattice step; false leaves it"] = True
    dither_seed: Annotated[int, Ge(0), "which dither noise is drawn"] = 0


@hookimpl
def latentbench_encoders() -> Iterable[EncoderSpec]:
    """Yield the encoder of Lyra V2."""
    yield EncoderSpec(
        name="soundstream",
        summary="SoundStream encoder of Lyra V2: 16 kHz, 50 Hz, D = 64, causal",
        factory="latentbench_soundstream.encoder:SoundStream",
        options=SoundStreamOptions,
        weights_licence="Apache-2.0",
        decodes=True,
    )
