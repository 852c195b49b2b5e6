"""The fitted models of a cell in one safetensors file, each tensor named `role.tensor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from latentbench.errors import LatentbenchError
from latentbench.files import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.predictors import Predictor

__all__ = ["MODELS", "load_model", "save_models"]

MODELS = "model.safetensors"


def save_models(file: Path, models: Mapping[str, Predictor]) -> None:
    """Write the models by their roles, at once."""
    tensors = {
        f"{role}.{name}": tensor.contiguous()
        for role, model in models.items()
        for name, tensor in model.state_dict().items()
    }
    with atomic(file) as partial:
        save_file(tensors, partial)


def load_model(file: Path, role: str, model: Predictor) -> None:
    """Give `model` the weights that the file holds of that role.

    Raises:
        LatentbenchError: the file cannot be read or does not hold that model.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(f"{role}.")]  # noqa: SIM118 - not a mapping
            state = {name.removeprefix(f"{role}."): tensors.get_tensor(name) for name in names}
        model.load_state_dict(state)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise LatentbenchError(
            f"'{file}' does not hold the model '{role}' of this run: {error}",
            "Remove the folder of this cell below 'cells' and 'result.json', and give the "
            "same 'latentbench run' command again.",
        ) from None
