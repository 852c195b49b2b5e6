"""What the distribution brings to latentbench: `snac-24k`, `snac-32k` and `snac-44k`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from latentbench.encoders import CodecOptions
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SnacOptions", "latentbench_encoders"]


@dataclass(frozen=True)
class SnacOptions(CodecOptions):
    """The options of all three encoders."""

    weights: Annotated[
        str, "'pretrained' (its authors' repository), a local pytorch_model.bin, or 'random'"
    ] = "pretrained"


@hookimpl
def latentbench_encoders() -> Iterable[EncoderSpec]:
    """Yield the three published models."""
    for name, rate, frame_rate, dim in (
        ("24k", 24, "46.88", 768),
        ("32k", 32, "83.33", 1024),
        ("44k", 44.1, "114.8", 1024),
    ):
        yield EncoderSpec(
            name=f"snac-{name}",
            summary=f"SNAC {rate} kHz: {frame_rate} Hz, D = {dim}, codebooks at several rates",
            factory=f"latentbench_snac.encoder:Snac{name}",
            options=SnacOptions,
            weights_licence="MIT",
            decodes=True,
        )
