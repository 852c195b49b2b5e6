"""Where the weights come from: the encodec package's own place, or a local file."""

from __future__ import annotations

import pickle
import socket
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from encodec.model import ROOT_URL

from latentbench.digest import file_digest
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.progress import Progress
    from latentbench_encodec.architecture import EncodecNetwork

__all__ = ["fill", "pretrained_file"]

ANSWER_SECONDS = 7.0
STALL_SECONDS = 30.0


def pretrained_file(name: str, progress: Progress) -> Path:
    """The checkpoint `name` where the encodec package keeps it, downloaded if it is not there.

    That place is the folder `checkpoints` of `torch.hub`; a copy put there by hand will do.

    Raises:
        UsageError: the file cannot be had, or is not the published one; says how to go on.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    published = file.stem.rpartition("-")[2]
    if not file.is_file():
        _download(ROOT_URL + name, file, published, progress)
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


def _download(url: str, file: Path, published: str, progress: Progress) -> None:
    try:
        _require_answer(url)
        progress.say(f"Downloading {url} to {file}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with _patience():
            torch.hub.download_url_to_file(url, str(file), published, progress=False)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"The EnCodec weights are not at '{file}' and cannot be downloaded from {url}: "
            f"{error}.",
            "Fetch them on a machine with network, then put them there or pass "
            "--set encoder.weights=/path/to/" + file.name + "; "
            "or take --set encoder.weights=random, a control with the same architecture.",
        ) from error


def _require_answer(url: str) -> None:
    """Ask for the headers, in a thread because a name look-up obeys no timeout."""
    failure: list[OSError] = [TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")]

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - a constant https address
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310 - as above
                failure.clear()
        except OSError as error:
            failure[:] = [error]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if failure:
        raise failure[0]


@contextmanager
def _patience() -> Iterator[None]:
    """End a stalled transfer; `torch.hub` sets no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
