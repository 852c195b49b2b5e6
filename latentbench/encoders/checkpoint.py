"""Tensors of a safetensors checkpoint: one file, or shards and their index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import torch

__all__ = ["INDEX", "read_tensors", "tensor_names"]

INDEX = ".index.json"  # after the name that an unsharded file would have


def tensor_names(file: Path) -> set[str]:
    """The names of all tensors of a checkpoint.

    Args:
        file: a safetensors file, or the index of several.

    Raises:
        UsageError: a file is damaged, incomplete, or named in the index and not there.
    """
    return set(_places(file))


def read_tensors(file: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of the tensors called `names` that the checkpoint holds, of the dtype they have there.

    Args:
        file: a safetensors file, or the index of several.
        names: in any order.

    Raises:
        UsageError: a file is damaged, incomplete, or named in the index and not there.
    """
    places = _places(file)
    shards: dict[Path, list[str]] = {}
    for name in names:
        if name in places:
            shards.setdefault(places[name], []).append(name)
    return {name: tensor for shard in shards for name, tensor in _read(shard, shards[shard])}


def _read(shard: Path, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with safe_open(shard, framework="pt") as opened:
            yield from ((name, opened.get_tensor(name)) for name in names)
    except (SafetensorError, OSError) as error:
        raise _unreadable(shard, error) from None


def _places(file: Path) -> Mapping[str, Path]:
    """The file that each tensor lies in."""
    try:
        if file.name.endswith(INDEX):
            found = json.loads(file.read_text("utf-8"))["weight_map"]
            return {str(name): file.with_name(str(shard)) for name, shard in found.items()}
        with safe_open(file, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), file)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> UsageError:
    if isinstance(error, FileNotFoundError):
        return UsageError(
            f"The weights '{file}' are not there, though the index beside it names them.",
            "Copy or download that file too.",
        )
    return UsageError(
        f"The weights '{file}' cannot be read: {error}.",
        "The file is damaged or incomplete; copy or download it again.",
    )
