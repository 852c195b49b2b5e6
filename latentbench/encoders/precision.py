"""Arithmetic as it was when the published latents were made: float32 throughout."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["exact_float32"]


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Full float32 products on `device` (no TF32, no bf16, no autocast); afterwards as before.

    TF32 keeps 10 bits of a factor; latents that differ by that much are other latents.
    """
    import torch  # noqa: PLC0415 - listing the encoders imports this package, and no torch

    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
