"""Which kit belongs to which kind; imported on use, because kits import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from latentbench.conformance.check import Kit

__all__ = ["KIT_MODULES", "kit_of"]

KIT_MODULES = {
    "corpus": "latentbench.conformance.corpus",
    "encoder": "latentbench.conformance.encoder",
    "transform": "latentbench.conformance.transform",
    "predictor": "latentbench.conformance.predictor",
    "metric": "latentbench.conformance.metric",
    "engine": "latentbench.conformance.engine",
    "reporter": "latentbench.conformance.reporter",
}


def kit_of(kind: str) -> Kit[Any]:
    """The kit of a kind of component.

    Raises:
        UsageError: there is none; names the nearest.
    """
    if kind not in KIT_MODULES:
        raise UsageError(
            f"There is no conformance kit for the kind '{kind}'.", nearest(kind, KIT_MODULES)
        )
    kit: Kit[Any] = importlib.import_module(KIT_MODULES[kind]).KIT
    return kit
