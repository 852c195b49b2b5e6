"""The fitted models of a cell in one safetensors file, each tensor named `role.tensor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.errors import LatentbenchError
from latentbench.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.predictors import Predictor

__all__ = ["MODELS", "load_model", "save_models"]

MODELS = "model.safetensors"
AGAIN = "Give the same 'latentbench run' command again: it trains the model again."


def save_models(file: Path, models: Mapping[str, Predictor]) -> None:
    """Write the models by their roles, at once."""
    save_tensors(
        file,
        {
            f"{role}.{name}": tensor
            for role, model in models.items()
            for name, tensor in model.state_dict().items()
        },
    )


def load_model(file: Path, role: str, model: Predictor) -> None:
    """Give `model` the weights that the file holds of that role.

    Raises:
        DamagedFileError: the file is gone or is not what was written.
        LatentbenchError: it does not hold that model.
    """
    tensors = load_tensors(file, AGAIN)
    prefix = f"{role}."
    state = {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise LatentbenchError(
            f"'{file}' does not hold the model '{role}' of this run: {error}",
            "Another version of latentbench or of a plugin wrote it: run again with another --out.",
        ) from None
