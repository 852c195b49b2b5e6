"""Named tensors in safetensors files that are read again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from latentbench.files import reading, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

__all__ = ["load_tensors", "save_tensors"]


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
