"""Tensors: by name in safetensors files that are read again, and hashed row by row."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from latentbench.files import reading, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["hashed_rows", "load_tensors", "save_tensors"]

HASH_SEED = 20_070_101
WORD = 64


def hashed_rows(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """A number of 0..2^bits-1 for each of rows [B, D], by the bits of its float32 values alone.

    Multilinear hashing (Lemire & Kaser 2014): the highest bits of a random linear form modulo 2^64,
    its factors by numpy's generator of a fixed seed. It is the same on every device and in every
    batch, int64 [B].
    """
    words = rows.float().contiguous().view(torch.int32).long()
    form = (words * _factors(rows.shape[-1], rows.device)).sum(-1)
    return (form >> (WORD - bits)) & ((1 << bits) - 1)  # the shift repeats the sign


@lru_cache(maxsize=8)
def _factors(count: int, device: torch.device) -> torch.Tensor:
    """Odd ones, int64 [count]."""
    drawn = np.random.default_rng(HASH_SEED).integers(-(2**63), 2**63 - 1, count)
    with torch.inference_mode(mode=False):
        return torch.from_numpy(drawn | 1).to(device)


def save_tensors(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors by name, at once.

    Raises:
        OSError: they cannot be written, e.g. the disk is full.
    """
    with sealed(file) as partial:
        try:
            save_file({name: one.contiguous() for name, one in tensors.items()}, partial)
        except SafetensorError as error:
            code = re.search(r"\(os error (\d+)\)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), str(error), str(file)) from None


def load_tensors(file: Path, hint: str) -> dict[str, torch.Tensor]:
    """The tensors of a file, as memory maps.

    Args:
        file: written by `save_tensors`.
        hint: how it is made again.

    Raises:
        DamagedFileError: it is gone or is not what was written.
    """
    with reading(file, hint):
        return load_file(file)
