"""The latent views of codecs with a residual vector quantizer, as a user writes them."""

from __future__ import annotations

import re

from latentbench.errors import UsageError

__all__ = ["codebooks_summed"]


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
