"""Where the weights come from: the dac package's own place, or a local file."""

from __future__ import annotations

import pickle
import socket
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentbench.digest import file_digest
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.progress import Progress
    from latentbench_dac.architecture import Architecture
    from latentbench_dac.network import DacNetwork

__all__ = ["fill", "pretrained_file"]

RELEASES = "https://github.com/descriptinc/descript-audio-codec/releases/download/"
ANSWER_SECONDS = 7.0
STALL_SECONDS = 30.0
PARTS = ("encoder.", "quantizer.")


def pretrained_file(architecture: Architecture, progress: Progress) -> Path:
    """The released checkpoint where the dac package keeps it, downloaded if it is not there.

    That place is `~/.cache/descript/dac`; a copy put there by hand will do. The project
    publishes no checksum: the digest of what came is in the result.

    Raises:
        UsageError: the file cannot be had; says how to go on.
    """
    name = f"weights_{architecture.model_type}_8kbps_{architecture.release}.pth"
    file = Path.home() / ".cache" / "descript" / "dac" / name
    if not file.is_file():
        url = f"{RELEASES}{architecture.release}/{architecture.asset}"
        _download(url, file, progress)
    return file


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


def _download(url: str, file: Path, progress: Progress) -> None:
    try:
        _require_answer(url)
        progress.say(f"Downloading {url} to {file}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with _patience():
            torch.hub.download_url_to_file(url, str(file), progress=False)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"The DAC weights are not at '{file}' and cannot be downloaded from {url}: {error}.",
            "Fetch them on a machine with network, then put them there or pass "
            "--set encoder.weights=/path/to/" + url.rpartition("/")[2] + "; "
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
