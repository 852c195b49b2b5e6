"""Where the weights come from: the encodec package's own place, or a local file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from encodec.model import ROOT_URL

from latentbench.digest import file_digest
from latentbench.download import fetch
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from latentbench.progress import Progress
    from latentbench_encodec.architecture import EncodecNetwork

__all__ = ["fill", "pretrained_file"]


def pretrained_file(name: str, progress: Progress) -> Path:
    """The checkpoint `name` where the encodec package keeps it, downloaded if it is not there.

    That place is the folder `checkpoints` of `torch.hub`; a copy put there by hand will do.

    Raises:
        UsageError: the file cannot be had, or is not the published one; says how to go on.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    published = file.stem.rpartition("-")[2]
    fetch(
        ROOT_URL + name,
        file,
        sha256=published,
        progress=progress,
        title=f"Fetching {name}",
        hint=f"Fetch it on a machine with network, then copy it to '{file}' or pass "
        f"--set encoder.weights=/path/to/{name}; "
        "or take --set encoder.weights=random, a control with the same architecture.",
    )
    if not file_digest(file).startswith(published):
        raise UsageError(
            f"'{file}' is damaged: its sha256 does not begin with {published}.",
            "Remove it and run again, to download it anew.",
        )
    return file


def fill(network: EncodecNetwork, file: Path) -> str:
    """Load encoder and quantizer from a checkpoint; returns the file's sha256.

    Nothing in the file is executed (`weights_only`), and no tensor may be missing.

    Raises:
        UsageError: the file cannot be read, or belongs to another model.
    """
    try:
        digest = file_digest(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no readable checkpoint"
        raise UsageError(
            f"The EnCodec weights '{file}' cannot be loaded: {reason}.",
            "Known: pretrained, random, or the path of a checkpoint of the encodec package "
            "(encodec_24khz-d7cc33bc.th, encodec_48khz-7e698e3e.th).",
        ) from error
    wanted = network.state_dict()
    given = state if isinstance(state, dict) else {}
    missing = [
        name
        for name, tensor in wanted.items()
        if getattr(given.get(name), "shape", None) != tensor.shape
    ]
    if missing:
        raise UsageError(
            f"'{file}' is no checkpoint of this EnCodec model: {len(missing)} of {len(wanted)} "
            f"tensors are missing or of another shape, the first is '{missing[0]}'.",
            "encodec-24k takes encodec_24khz-d7cc33bc.th, encodec-48k encodec_48khz-7e698e3e.th.",
        )
    network.load_state_dict({name: given[name] for name in wanted})
    return digest
