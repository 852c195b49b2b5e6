"""Station 5, densities: what predicts a target from its context."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.predictors.predictor import Predictor
    from latentbench.predictors.training import Training

__all__ = ["Predictor", "Training"]


def __getattr__(name: str) -> Any:
    """Import torch only when a class is asked for, so that specs can be listed without it."""
    if name == "Predictor":
        from latentbench.predictors.predictor import Predictor  # noqa: PLC0415

        return Predictor
    if name == "Training":
        from latentbench.predictors.training import Training  # noqa: PLC0415

        return Training
    raise AttributeError(name)
