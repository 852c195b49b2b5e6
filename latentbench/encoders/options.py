"""Options that encoders of one kind share; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

__all__ = ["RANDOM", "CodecOptions"]

RANDOM = "random"  # as `weights`: none, but what a seed draws


@dataclass(frozen=True)
class CodecOptions:
    """The options of a `latentbench.encoders.codec_encoder.CodecEncoder`.

    A plugin derives its own, to say in the help of `weights` where they come from.
    """

    weights: Annotated[str, "'pretrained' (downloaded once), a local checkpoint, or 'random'"] = (
        "pretrained"
    )
    weights_seed: Annotated[int, Ge(0), "which random weights"] = 0
    view: Annotated[
        str, "'encoder' (before the quantizer) or 'quantized:n' (sum over the first n codebooks)"
    ] = "encoder"
