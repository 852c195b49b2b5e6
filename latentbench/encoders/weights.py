"""Weights into a network: all of them or none, and a digest of what is there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

__all__ = ["WeightsMismatchError", "fill", "weights_digest"]

NAMED = 3


class WeightsMismatchError(Exception):
    """Weights that do not fit the network; the text names the first ones."""


def fill(network: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Copy `tensors` over all weights of the network, by name.

    Raises:
        WeightsMismatchError: one is missing, not known, or has another shape (or none).
    """
    own = network.state_dict()
    if missing := [name for name in own if name not in tensors]:
        raise WeightsMismatchError(f"{len(missing)} of {len(own)} missing: {_some(missing)}")
    if others := [name for name in tensors if name not in own]:
        raise WeightsMismatchError(f"{len(others)} beside {len(own)} not known: {_some(others)}")
    given = {name: _shape(tensor) for name, tensor in tensors.items()}
    wanted = {name: _shape(tensor) for name, tensor in own.items()}
    if wrong := [name for name in own if given[name] != wanted[name]]:
        told = [f"{name} {given[name]} instead of {wanted[name]}" for name in wrong]
        raise WeightsMismatchError(f"{len(wrong)} of another shape: {_some(told)}")
    network.load_state_dict(tensors)


def weights_digest(network: nn.Module) -> str:
    """A hex sha256 of all weights, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _shape(tensor: Any) -> list[int] | str:
    return list(tensor.shape) if hasattr(tensor, "shape") else "no tensor"
