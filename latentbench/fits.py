"""Which models a cell fits, what decides each, and where one was fitted before.

Two models that agree in all that decides them learn the same numbers, whatever their runs and
their roles. So a cell takes over what a finished cell has fitted: one of its own run, or of the
runs that stand beside it in a comparison. Each cell keeps the digests of its models in `cell.json`
and their weights in `model.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq
import torch

import latentbench
from latentbench.config import UnrollingConfig
from latentbench.device import choose_device
from latentbench.digest import XXH3, file_digest
from latentbench.files import DamagedFileError, reading
from latentbench.inline import code_digest
from latentbench.latents.manifest import corpus_digest, read_manifest
from latentbench.models import MODELS, load_model
from latentbench.predictors.learning_curve import LearningCurve, Loss
from latentbench.results.folder import AGAIN, CURVES, read_record
from latentbench.specs import after_fit
from latentbench.tasks import WindowTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from latentbench.config import ComponentConfig, RunConfig, TrainingConfig
    from latentbench.engines import Cell
    from latentbench.plugins import Component, Registry
    from latentbench.predictors import Predictor
    from latentbench.results.schema import CellRecord

__all__ = [
    "SECTION_OF",
    "UNCONDITIONAL",
    "Fitted",
    "decided_by",
    "fit_digest",
    "fitted_models",
    "latents_digest",
    "networks_of",
    "training_of",
    "window_task",
]

UNCONDITIONAL = "unconditional"
# Role of a model in a cell -> section of the configuration that says how it is made.
SECTION_OF = {
    "predictor": "predictor",
    "baseline": "baseline",
    UNCONDITIONAL: "predictor",
    "x_target": "predictor",
    "x_baseline": "baseline",
}
OF_X = {"x_target", "x_baseline"}
# What decides the latents, and which of them a model is fitted on.
OF_LATENTS = (
    "encoder",
    "corpus",
    "factorization",
    "transforms",
    "utterances",
    "latents",
    "split",
)
# Most steps that the control without a context is given to converge, as the published run had.
CONTROL_STEPS = 25_000


def window_task(config: RunConfig, horizon: int) -> WindowTask:
    """The task of a run at one horizon."""
    task = config.task
    return WindowTask(
        task.context_frames,
        horizon,
        target=task.target,
        frame_set=task.frame_set,
        horizons=task.horizons,
        step=task.step_frames,
        earliest=task.first_frame,
    )


def training_of(role: str, config: TrainingConfig) -> TrainingConfig:
    """How the model of a role is trained.

    The control without a context is not rolled out, and is trained until it converges, however
    short the others are: one that was not fitted would make any gain over it look large.
    """
    if role != UNCONDITIONAL:
        return config
    steps = max(config.steps, CONTROL_STEPS) if config.select == "best" else config.steps
    return config.model_copy(update={"steps": steps, "rollout": UnrollingConfig()})


def networks_of(config: RunConfig, horizon: int) -> Iterator[str]:
    """The roles for which a cell fits the predictor of the run.

    Args:
        config: with all times in frames.
        horizon: of the cell.
    """
    task = config.task
    yield "predictor"
    if UNCONDITIONAL in config.controls:
        yield UNCONDITIONAL
    seeing = horizon <= task.step_frames < horizon + task.context_frames
    if "x_target" in config.controls and task.target != "x" and not seeing:
        yield "x_target"


def decided_by(config: RunConfig, role: str, horizon: int, seed: int, registry: Registry) -> str:
    """All that a configuration says of one fit, as text: equal texts, equal models.

    Without a context the horizon shows in nothing but the first frame that is predicted.

    Args:
        config: with all times in frames.
        role: of the model.
        horizon: of its cell.
        seed: of its cell.
        registry: where its predictor is.
    """
    task, plain = window_task(config, horizon), config.model_dump(mode="json")
    said = {
        "latents": {name: plain.get(name) for name in OF_LATENTS},
        "model": _learned_by(config, role, registry),
        "training": training_of(role, config.training).model_dump(mode="json"),
        "device": config.device,
        "seed": seed,
        "context": task.context_frames,
        "horizon": None if role == UNCONDITIONAL else horizon,
        "first": task.first_frame,
        "only": config.task.only,
        "step": task.step,
        "target": "x" if role in OF_X else task.target,
    }
    return json.dumps(said, sort_keys=True)


def _learned_by(config: RunConfig, role: str, registry: Registry) -> dict[str, Any]:
    """The predictor of a role with those options that its training looks at.

    Rolled out in training it is asked for means and samples, by all of them.
    """
    component: ComponentConfig = getattr(config, SECTION_OF[role])
    plain = component.model_dump(mode="json")
    if training_of(role, config.training).rollout.steps:
        return plain
    unused = after_fit(registry.get("predictor", component.name).spec.options)
    return {name: value for name, value in plain.items() if name not in unused}


def latents_digest(cell: Cell, registry: Registry) -> str:
    """A hex digest of the latents of a cell, on which side each is, and what is made of them."""
    _, rows = read_manifest(cell.manifest)
    maps = (registry.get("transform", one.name) for one in cell.config.transforms)
    return _digest(
        cell.store.name,
        corpus_digest(rows),
        *(file_digest(file, XXH3) for file in cell.transforms),
        *(part for one in maps for part in _code(one)),
    )


def fit_digest(cell: Cell, role: str, registry: Registry, latents: str) -> str:
    """A hex digest of all that decides the model of a role in a cell.

    Args:
        cell: of the run.
        role: of the model.
        registry: where its predictor is.
        latents: digest of what it is fitted on, by `latents_digest`.
    """
    component = registry.get("predictor", getattr(cell.config, SECTION_OF[role]).name)
    return _digest(
        decided_by(cell.config, role, cell.horizon, cell.seed, registry),
        latents,
        *_code(component),
        latentbench.__version__,
        torch.__version__,
        _kind(choose_device(cell.config.device)),
    )


class Fitted(NamedTuple):
    """A model of a finished cell.

    Attributes:
        folder: of the cell.
        record: of the cell.
        role: of the model there.
    """

    folder: Path
    record: CellRecord
    role: str

    def load(self, model: Predictor) -> LearningCurve:
        """Give `model` the weights; what the training was like.

        Raises:
            DamagedFileError: a file of the cell is gone or is not what was written.
            LatentbenchError: the model does not take its own weights.
        """
        load_model(self.folder / MODELS, self.role, model)
        curve = LearningCurve(convergence=self.record.convergence.get(self.role))
        file = self.folder / CURVES
        if file.exists() or curve.convergence is not None:
            with reading(file, AGAIN):
                rows = pq.read_table(file, filters=[("role", "=", self.role)]).to_pylist()
            curve.points = [Loss(row["step"], row["split"], row["loss"]) for row in rows]
        return curve


def fitted_models(runs: Iterable[Path], seed: int | None = None) -> Iterator[tuple[str, Fitted]]:
    """The digest of each model that finished cells of runs have fitted, and where it is.

    Args:
        runs: their folders.
        seed: of the cells; None for all.
    """
    for run in runs:
        for folder in sorted(run.glob(f"cells/*-seed{'*' if seed is None else seed}")):
            try:
                record = read_record(folder)
            except DamagedFileError:  # the run it is of says so when it is its turn
                continue
            if record is not None and record.status == "done":
                for role, digest in record.fits.items():
                    yield digest, Fitted(folder, record, role)


def _code(component: Component) -> tuple[str, str]:
    """Whose a component is, and a digest of its code."""
    return str(component.provider), component.code or code_digest(component.factory())


def _kind(device: torch.device) -> str:
    """Devices of one kind round alike."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
