"""Between latents and task: predictable state apart from innovation, fitted on train and stored."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.factorizations.factorization import Account, Factorization, Fitting

__all__ = ["Account", "Factorization", "Fitting"]


def __getattr__(name: str) -> Any:
    """Import torch only when a class is asked for, so that specs can be listed without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.factorization"), name)
