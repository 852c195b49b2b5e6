"""Where the weights come from: the dac package's own place, or a local file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentbench.digest import file_digest
from latentbench.download import fetch
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from latentbench.progress import Progress
    from latentbench_dac.architecture import Architecture
    from latentbench_dac.network import DacNetwork

__all__ = ["fill", "pretrained_file"]

RELEASES = "https://github.com/descriptinc/descript-audio-codec/releases/download/"
PARTS = ("encoder.", "quantizer.")


def pretrained_file(architecture: Architecture, progress: Progress) -> Path:
    """The released checkpoint where the dac package keeps it, downloaded if it is not there.

    That place is `~/.cache/descript/dac`; a copy put there by hand will do. The project
    publishes no checksum: the digest of what came is said, and in the result.

    Raises:
        UsageError: the file cannot be had; says how to go on.
    """
    name = f"weights_{architecture.model_type}_8kbps_{architecture.release}.pth"
    file = Path.home() / ".cache" / "descript" / "dac" / name
    return fetch(
        f"{RELEASES}{architecture.release}/{architecture.asset}",
        file,
        unverified=True,
        progress=progress,
        title=f"Fetching {architecture.asset}",
        hint=f"Fetch it on a machine with network, then copy it to '{file}' or pass "
        f"--set encoder.weights=/path/to/{architecture.asset}; "
        "or take --set encoder.weights=random, a control with the same architecture.",
    )


def fill(network: DacNetwork, architecture: Architecture, file: Path) -> str:
    """Load encoder and quantizer from a checkpoint; returns the file's sha256.

    Nothing in the file is executed (`weights_only`). Every tensor of both parts must be there
    and none beside them: the 16 kHz model would take the tensors of the 24 kHz one.

    Raises:
        UsageError: the file cannot be read, or belongs to another model.
    """
    try:
        digest = file_digest(file)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no readable checkpoint"
        raise UsageError(
            f"The DAC weights '{file}' cannot be loaded: {reason}.",
            "Known: pretrained, random, or the path of a checkpoint of the dac package "
            f"(for this encoder, {architecture.asset} of release {architecture.release}).",
        ) from error
    wanted, given = network.state_dict(), _parts(checkpoint)
    wrong = sorted(
        name
        for name in wanted.keys() | given.keys()
        if name not in wanted
        or name not in given
        or getattr(given[name], "shape", None) != wanted[name].shape
    )
    if wrong:
        raise UsageError(
            f"'{file}' is no checkpoint of the {architecture.model_type} DAC: {len(wrong)} "
            f"tensors are missing, not known or of another shape, the first is '{wrong[0]}'.",
            f"This encoder takes {architecture.asset} of release {architecture.release}.",
        )
    network.load_state_dict(given)
    return digest


def _parts(checkpoint: Any) -> dict[str, Any]:
    """Encoder and quantizer of a checkpoint as the package saves it."""
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        return {}
    return {name: tensor for name, tensor in state.items() if name.startswith(PARTS)}
