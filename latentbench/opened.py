"""A finished run, opened again: its latents, its windows and its fitted models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.cells import make_predictor, scored_frames, task_frames
from latentbench.config import RunConfig
from latentbench.device import choose_device
from latentbench.errors import UsageError
from latentbench.experiment import encode_corpus
from latentbench.factorizations.stored import (
    factored_store,
    fitted_file,
    is_factored,
    restore_factorization,
)
from latentbench.files import DamagedFileError
from latentbench.latents.manifest import open_latents
from latentbench.latents.store import LatentStore
from latentbench.latents.transform import restore_transforms, undo_transforms
from latentbench.models import load_model
from latentbench.results import RunFolder
from latentbench.results.finished import FinishedRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from latentbench.latents import Latents
    from latentbench.plugins import Registry
    from latentbench.predictors import Predictor
    from latentbench.results.schema import HorizonResult
    from latentbench.tasks import TaskFrames
    from latentbench.workspace import Workspace

__all__ = ["OpenedRun"]


class OpenedRun:
    """What a finished run was made of, for questions that are asked afterwards.

    Args:
        folder: of the run.
        workspace: with the cache folder that holds its latent store.
        registry: where its components are looked up.
        device: where its models go; empty: where they were trained.

    Attributes:
        result: what was found.
        config: the resolved configuration, all times in frames.
        encoded: the latents of every utterance, as the encoder gave them.
        latents: the same as the run's factorisation and transforms leave them.
        sides: split -> indices into `latents.utterances`.
        rows: of the manifest, one per utterance.

    Raises:
        UsageError: the folder holds no finished run, or its latents are not in the cache.
    """

    def __init__(
        self, folder: Path, workspace: Workspace, registry: Registry, device: str = ""
    ) -> None:
        run = FinishedRun.read(folder)
        self.folder = RunFolder(folder)
        self.result = run.result
        self.rows = run.utterances
        self.config = RunConfig.model_validate(self.result.config)
        self.registry = registry
        self.device = choose_device(device or self.config.device)
        stored, self.sides = self._stored(run, workspace)
        self.encoded = stored
        if is_factored(self.config):
            stored, self.sides = self._factored(run, workspace)
        self.latents = restore_transforms(stored, self.config, registry, self._transforms)

    def as_encoded(self, frames: torch.Tensor) -> torch.Tensor:
        """Consecutive frames [T, d] of `latents` as frames of the encoder, [T, D].

        Transforms are undone, and the factorisation says what its states alone say of the frames.

        Raises:
            UsageError: a transform has no way back.
            DamagedFileError: a fitted file is not what was written.
        """
        frames = undo_transforms(frames, self.config, self.registry, self._transforms)
        if not is_factored(self.config):
            return frames
        return restore_factorization(self.config, self.registry, self._factorization).decode(frames)

    def frames(self, horizon: int, side: str) -> TaskFrames:
        """The frames of one side at one horizon, in stream order."""
        return task_frames(self.config, horizon, self.latents, self.sides)[side]

    def scored(self, horizon: int, side: str) -> TaskFrames:
        """Those of them that were scored, in the order of `frames.parquet`."""
        return scored_frames(self.config.evaluation, self.frames(horizon, side), self.sides[side])

    def model(
        self, horizon: int, seed: int, role: str = "predictor", section: str = "predictor"
    ) -> Predictor:
        """A fitted model, on the device and in evaluation mode.

        Args:
            horizon: of the run, with a cell that is done.
            seed: of the run.
            role: what the file of the models calls it.
            section: of the configuration, that says how it is made.

        Raises:
            UsageError: the run has no such horizon or seed.
            LatentbenchError: its file does not hold that model.
        """
        self.require(horizon, seed)
        file = self.folder.model(horizon, seed, len(self.config.seeds))
        model = make_predictor(section, self.config, self.registry, dim=self.latents.dim, seed=seed)
        load_model(file, role, model)
        return model.to(self.device).eval()

    def horizons(self, asked: Sequence[int] = ()) -> list[HorizonResult]:
        """The horizons that are asked for; none: all of them.

        Raises:
            UsageError: the run has no such horizon; says which there are.
        """
        found = {one.k: one for one in self.result.horizons}
        for k in asked:
            if k not in found:
                known = ", ".join(map(str, found))
                raise UsageError(f"The run has no horizon k = {k}.", f"It has: {known}.")
        return [found[k] for k in asked or found]

    def require(self, horizon: int, seed: int) -> None:
        """Refuse a horizon or a seed that the run has no model of.

        Raises:
            UsageError: says which there are.
        """
        (found,) = self.horizons((horizon,))
        if seed not in found.seeds:
            of = f" of seed {seed}" if found.seeds else ""
            known = ", ".join(map(str, found.seeds)) or "none"
            raise UsageError(
                f"The run has no finished cell{of} at k = {horizon}.",
                f"Finished seeds there: {known}.",
            )
        if not found.fitted:
            known = ", ".join(str(one.k) for one in self.result.horizons if one.fitted) or "none"
            raise UsageError(
                f"The run fitted no model at k = {horizon}: {found.lacking}.",
                f"Horizons that have one: {known}.",
            )

    @property
    def _factorization(self) -> Path:
        return fitted_file(self.folder.path, self.config.factorization.name)

    @property
    def _transforms(self) -> list[Path]:
        return [
            self.folder.path / f"transform-{number}-{component.name}.safetensors"
            for number, component in enumerate(self.config.transforms)
        ]

    def _factored(
        self, run: FinishedRun, workspace: Workspace
    ) -> tuple[Latents, dict[str, list[int]]]:
        """The states of the run's factorisation; what is missing is encoded again."""
        store = factored_store(
            LatentStore.at(workspace.cache / "latents" / run.store),
            run.utterances,
            self.config,
            self.registry,
            file=self._factorization,
            progress=workspace.progress,
        )
        return open_latents(store, run.utterances)

    def _stored(
        self, run: FinishedRun, workspace: Workspace
    ) -> tuple[Latents, dict[str, list[int]]]:
        """The latents of the run; what is damaged of them is encoded again."""
        path = workspace.cache / "latents" / run.store
        if not path.is_dir():
            raise UsageError(
                f"The latents of the run '{self.folder.path}' are not in the cache "
                f"'{workspace.cache}'.",
                "Name the cache of that run with --cache, or encode them again: "
                f"latentbench encode --config '{self.folder.config_file}'",
            )
        try:
            return open_latents(LatentStore.at(path), run.utterances)
        except DamagedFileError as error:
            workspace.progress.say(error.message)
            encode_corpus(self.config, workspace, self.registry)
            return open_latents(LatentStore.at(path), run.utterances)
