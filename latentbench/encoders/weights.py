"""Weights into a network: all of them or none, and a digest of what is there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

__all__ = ["WeightsMismatchError", "fill", "of_parts", "weights_digest"]

NAMED = 3
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# What torch's newer weight norm calls gain and direction, and what its older one does.
WEIGHT_NORM = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}


class WeightsMismatchError(Exception):
    """Weights that do not fit the network; the text names the first ones."""


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
    if missing := [name for name in own if name not in given]:
        raise WeightsMismatchError(f"{len(missing)} of {len(own)} missing: {_some(missing)}")
    if others := [name for name in given if name not in own]:
        raise WeightsMismatchError(f"{len(others)} beside {len(own)} not known: {_some(others)}")
    shapes = {name: (_shape(given[name]), _shape(own[name])) for name in own}
    if wrong := [f"{name} {a} instead of {b}" for name, (a, b) in shapes.items() if a != b]:
        raise WeightsMismatchError(f"{len(wrong)} of another shape: {_some(wrong)}")
    kinds = {name: (given[name].dtype, own[name].dtype) for name in own}
    if wrong := [f"{name} {a}" for name, (a, b) in kinds.items() if (a in FLOATS) != (b in FLOATS)]:
        raise WeightsMismatchError(f"{len(wrong)} of another kind of number: {_some(wrong)}")
    network.load_state_dict(given)
    loaded = network.state_dict()
    if wrong := [name for name in loaded if not loaded[name].isfinite().all()]:
        raise WeightsMismatchError(f"{len(wrong)} of {len(own)} not finite: {_some(wrong)}")


def of_parts(names: Iterable[str], network: nn.Module) -> list[str]:
    """Those of the names that lie in a part the network has: a decoder beside it is left out."""
    parts = {_part(name) for name in network.state_dict()}
    return [name for name in names if _part(name) in parts]


def weights_digest(network: nn.Module) -> str:
    """A hex sha256 of all weights, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _plain(name: str) -> str:
    for new, old in WEIGHT_NORM.items():
        name = name.replace(new, old)
    return name


def _part(name: str) -> str:
    return name.partition(".")[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _shape(tensor: Any) -> list[int] | str:
    return list(tensor.shape) if hasattr(tensor, "shape") else "no tensor"
