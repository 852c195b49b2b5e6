"""A loss whose operations, and those of its gradient, `torch.compile` fuses."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeAlias

import torch

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

__all__ = ["compiled"]


def compiled(loss: Loss) -> Loss:
    """The same loss, compiled at its first call for the shapes that it is given.

    Numbers are drawn as they would be without, so it differs by rounding alone.

    Raises:
        LatentbenchError: at its first call, where no compiler works here.
    """
    from torch._dynamo.exc import BackendCompilerFailed  # noqa: PLC0415 - seconds to import

    fused = torch.compile(loss, options={"fallback_random": True})

    @wraps(loss)
    def explained(context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        try:
            return fused(context, target)
        except BackendCompilerFailed as error:
            first, *_ = str(error).splitlines()
            raise LatentbenchError(
                f"The loss could not be compiled: {first}",
                "Install a C++ compiler, for CUDA Triton too, or leave training.compile out.",
            ) from error

    return explained
