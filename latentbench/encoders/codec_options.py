"""Options that codecs share, and how their views are read; imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from latentbench.errors import UsageError

__all__ = ["RANDOM", "CodecOptions", "codebooks_summed"]

RANDOM = "random"  # as `weights`: none, but what a seed draws


@dataclass(frozen=True)
class CodecOptions:
    """The options of a `latentbench.encoders.codec.CodecEncoder`.

    A plugin derives its own, to say in the help of `weights` where they come from.
    """

    weights: Annotated[str, "'pretrained' (downloaded once), a local checkpoint, or 'random'"] = (
        "pretrained"
    )
    weights_seed: Annotated[int, Ge(0), "which random weights"] = 0
    view: Annotated[
        str, "'encoder' (before the quantizer) or 'quantized:n' (sum over the first n codebooks)"
    ] = "encoder"


def codebooks_summed(view: str, most: int, model: str) -> int | None:
    """How many codebooks the view sums: n for `quantized:n`, None for `encoder`.

    Args:
        view: `encoder`, the latents before the quantizer, or `quantized:n`.
        most: how many codebooks the quantizer has.
        model: what an error calls the model.

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """
    if view == "encoder":
        return None
    found = re.fullmatch(r"quantized:(\d+)", view)
    if found and 1 <= int(found[1]) <= most:
        return int(found[1])
    raise UsageError(
        f"encoder.view={view} is no view of this {model} model.",
        f"Known: encoder, and quantized:1 to quantized:{most}.",
    )
