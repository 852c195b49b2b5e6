"""The state of a training under way, in one file that is whole or not there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentbench.errors import LatentbenchError
from latentbench.files import DamagedFileError, reading, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from latentbench.config import TrainingConfig
    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

__all__ = ["Checkpoint", "training_digest"]

PROBED_FRAMES = 64
# Raised when the same configuration comes to mean another order of the frames.
ORDER = 4


class Checkpoint:
    """Module, optimizer, step and random state, continued from only where `digest` agrees.

    Args:
        path: the file; its folder is made if need be.
        digest: of all that decides the training, by `training_digest`.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.digest = digest

    def save(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: int,
        beside: Mapping[str, Any],
    ) -> None:
        """Write the state after `step` steps in place of the last one, at once.

        Args:
            module: that is trained.
            optimizer: that trains it.
            step: how many steps it has had.
            beside: what else to keep: numbers, strings, tensors, and lists and mappings of them.

        Raises:
            LatentbenchError: it cannot be written, e.g. the disk is full.
        """
        state = {
            "digest": self.digest,
            "step": step,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": _random_state(module),
            "beside": dict(beside),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with sealed(self.path) as partial:
                torch.save(state, partial)
        except (
            OSError,
            RuntimeError,
        ) as error:  # torch's writer raises RuntimeError on a full disk
            raise LatentbenchError(
                f"The checkpoint '{self.path}' cannot be written at step {step}: {error}",
                "Make room or choose another folder, then run the same command again: training "
                "goes on from the last checkpoint that was written.",
            ) from error

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
    ) -> tuple[int, dict[str, Any]]:
        """Bring module, optimizer and random state back.

        A file that is damaged or belongs to another training is left aside: that is said, the
        module stays as it is, and the number is 0.

        Returns:
            The number of steps they have had, and what else was kept.
        """
        if not self.path.exists():
            return 0, {}
        try:
            with reading(self.path, ""):
                state = torch.load(self.path, map_location="cpu", weights_only=True)
                found = state["digest"]
        except DamagedFileError as error:
            progress.say(
                f"The checkpoint '{self.path}' is damaged ({error.reason}): training starts anew."
            )
            return 0, {}
        if found != self.digest:
            progress.say(
                f"The checkpoint '{self.path}' belongs to another configuration or other "
                "latents: training starts anew."
            )
            return 0, {}
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        _set_random_state(module, state["random"])
        step = int(state["step"])
        progress.say(f"Training goes on from step {step} of the checkpoint '{self.path}'.")
        return step, state["beside"]


def training_digest(
    module: nn.Module,
    frames: TaskFrames,
    config: TrainingConfig,
    seed: int,
    validation: TaskFrames | None = None,
) -> str:
    """A hex digest of all that decides a training.

    Those are the configuration, the seed, the freshly initialised module (its options by its
    `repr`), the kind of device, which frames are trained on and validated by and, by a sample,
    their values.
    """
    digest = hashlib.sha256()
    device = next(module.parameters()).device.type
    task = (frames.horizon, frames.context_frames, frames.target, frames.dim, len(frames))
    digest.update(f"{config.model_dump_json()}|{ORDER}|{seed}|{device}".encode())
    with torch.random.fork_rng(devices=[]):  # flows of zuko draw to show what they are
        digest.update(f"{task}|{module!r}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    for some in (frames, validation):
        digest.update(np.ascontiguousarray(some.rows).data if some else b"none")
    for stored in frames.latents.utterances:
        digest.update(f"{stored.id}|{stored.start}|{stored.frames}\n".encode())
    probes = np.linspace(0, len(frames) - 1, PROBED_FRAMES).astype(np.int64)
    digest.update(np.ascontiguousarray(frames.targets(probes).numpy()).data)
    return digest.hexdigest()


def _random_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """For modules that draw while they train; on CUDA such draws come from the device."""
    states = {"cpu": torch.get_rng_state()}
    device = next(module.parameters()).device
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(module: nn.Module, states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], next(module.parameters()).device)
