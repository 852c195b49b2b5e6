"""The trackers that ship with latentbench; each needs a distribution of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from latentbench.hookspecs import hookimpl
from latentbench.specs import TrackerSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MlflowOptions", "TensorboardOptions", "WandbOptions", "latentbench_trackers"]


@dataclass(frozen=True)
class TensorboardOptions:
    """Options of `tensorboard`."""

    folder: Annotated[
        str,
        "below which each run has a folder of its own; empty: `trackers/tensorboard` in that of "
        "the run",
    ] = ""


@dataclass(frozen=True)
class WandbOptions:
    """Options of `wandb`."""

    project: Annotated[str, "of Weights & Biases"] = "latentbench"
    mode: Annotated[
        Literal["offline", "online"], "offline: `wandb sync` sends what is in the run folder"
    ] = "offline"


@dataclass(frozen=True)
class MlflowOptions:
    """Options of `mlflow`."""

    uri: Annotated[str, "of its store, e.g. `sqlite:///mlflow.db`; empty: as MLflow chooses"] = ""
    experiment: Annotated[str, "of MLflow"] = "latentbench"


@hookimpl
def latentbench_trackers() -> Iterator[TrackerSpec]:
    """TensorBoard, Weights & Biases, MLflow."""
    yield TrackerSpec(
        name="tensorboard",
        summary="losses and figures for TensorBoard",
        factory="latentbench.trackers.tensorboard:Tensorboard",
        options=TensorboardOptions,
        requires=("tensorboard>=2.15",),
    )
    yield TrackerSpec(
        name="wandb",
        summary="losses and figures for Weights & Biases, offline unless asked",
        factory="latentbench.trackers.wandb:Wandb",
        options=WandbOptions,
        requires=("wandb>=0.19",),
    )
    yield TrackerSpec(
        name="mlflow",
        summary="losses and figures for MLflow",
        factory="latentbench.trackers.mlflow:Mlflow",
        options=MlflowOptions,
        requires=("mlflow-skinny>=3.0",),
    )
