"""What the distribution brings to latentbench: `dac-16k`, `dac-24k` and `dac-44k`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from latentbench.encoders import CodecOptions
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DacOptions", "latentbench_encoders"]


@dataclass(frozen=True)
class DacOptions(CodecOptions):
    """The options of all three encoders."""

    weights: Annotated[
        str, "'pretrained' (the release the dac package names), a local .pth, or 'random'"
    ] = "pretrained"


@hookimpl
def latentbench_encoders() -> Iterable[EncoderSpec]:
    """Yield the three published 8 kbps models."""
    for name, rate, frame_rate in (("16k", 16, "50"), ("24k", 24, "75"), ("44k", 44.1, "86.13")):
        yield EncoderSpec(
            name=f"dac-{name}",
            summary=f"Descript Audio Codec {rate} kHz: {frame_rate} Hz, D = 1024, look-ahead 8",
            factory=f"latentbench_dac.encoder:Dac{name}",
            options=DacOptions,
            weights_licence="MIT",
            decodes=True,
        )
