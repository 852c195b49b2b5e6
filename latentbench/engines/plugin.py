"""The built-in engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["latentbench_engines"]


@hookimpl
def latentbench_engines() -> Iterable[EngineSpec]:
    """The engine that ships with latentbench."""
    yield EngineSpec(
        name="local",
        summary="cells one after the other in this process",
        factory="latentbench.engines.local:LocalEngine",
    )
