"""Loading of checkpoints into networks: every weight must fit, none stays random."""

from __future__ import annotations

import hashlib
import json
import pickle
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import nn

__all__ = [
    "INDEX",
    "SAFETENSORS",
    "WeightsMismatchError",
    "fill",
    "of_parts",
    "read_pickled",
    "read_tensors",
    "tensor_names",
    "weights_digest",
]

INDEX = ".index.json"  # of a checkpoint in shards: after the name that one file would have
SAFETENSORS = (".safetensors", INDEX)
NAMED = 3
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# What torch's newer weight norm calls gain and direction, and what its older one does.
WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}


class WeightsMismatchError(Exception):
    """Weights that do not fit the network; the text names the first ones."""


def tensor_names(file: Path) -> set[str]:
    """The names of all tensors of a safetensors file, or of several by their index.

    Raises:
        UsageError: a file is damaged, incomplete, or named in the index and not there.
    """
    return set(_places(file))


def read_tensors(file: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Read the tensors called `names`, as far as they are there, in their own dtype.

    Args:
        file: a safetensors file, or the index of several.
        names: in any order.

    Raises:
        UsageError: as `tensor_names`.
    """
    places = _places(file)
    shards: dict[Path, list[str]] = {}
    for name in names:
        if name in places:
            shards.setdefault(places[name], []).append(name)
    return {name: tensor for shard in shards for name, tensor in _read(shard, shards[shard])}


def read_pickled(file: Path) -> Any:
    """What `torch.save` wrote; code in it is never executed.

    Raises:
        UsageError: the file cannot be read, or holds more than tensors and plain values.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no readable checkpoint"
        raise UsageError(
            f"The weights '{file}' cannot be loaded: {reason}.",
            "The file is damaged, incomplete or of another kind; copy or download it again.",
        ) from error


def fill(network: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Copy `tensors` over all weights of the network, by name.

    The names of torch's older and newer weight norm stand for each other.

    Raises:
        WeightsMismatchError: one is missing, not known, of another shape or kind of number
            (quantized weights mean nothing without their scales), or not finite.
    """
    own = network.state_dict()
    plain = {_plain(name): name for name in own}
    given = {plain.get(_plain(name), name): tensor for name, tensor in tensors.items()}
    if twice := len(tensors) - len(given):
        raise WeightsMismatchError(f"{twice} given twice, by the names of both weight norms")
    _refuse(f"of {len(own)} missing", [name for name in own if name not in given])
    _refuse(f"beside {len(own)} not known", [name for name in given if name not in own])
    shapes = {name: (_shape(given[name]), _shape(own[name])) for name in own}
    wrong = [f"{name} {a} instead of {b}" for name, (a, b) in shapes.items() if a != b]
    _refuse("of another shape", wrong)
    kinds = {name: (given[name].dtype, own[name].dtype) for name in own}
    wrong = [f"{name} {a}" for name, (a, b) in kinds.items() if (a in FLOATS) != (b in FLOATS)]
    _refuse("of another kind of number", wrong)
    network.load_state_dict(given)
    loaded = network.state_dict()
    wrong = [name for name in loaded if not loaded[name].isfinite().all()]
    _refuse(f"of {len(own)} not finite", wrong)


def of_parts(names: Iterable[str], network: nn.Module) -> list[str]:
    """Keep the names in parts that the network has; a decoder beside it is left out."""
    parts = {_part(name) for name in network.state_dict()}
    return [name for name in names if _part(name) in parts]


def weights_digest(network: nn.Module) -> str:
    """A hex sha256 of all weights, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


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


def _refuse(what: str, names: list[str]) -> None:
    if names:
        some = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        raise WeightsMismatchError(f"{len(names)} {what}: {some}")


def _plain(name: str) -> str:
    for new, old in WEIGHT_NORM.items():
        name = name.replace(new, old)
    return name


def _part(name: str) -> str:
    return name.partition(".")[0]


def _shape(tensor: Any) -> list[int] | str:
    return list(tensor.shape) if hasattr(tensor, "shape") else "no tensor"
