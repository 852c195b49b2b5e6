"""One pinned file of the Hugging Face Hub, through the user's normal cache, verified.

What the hub's own client leaves open is settled here: whether there is a network is found out
in seconds (the client alone retries for half a minute), the content is compared with a known
sha256 (the client compares sizes), and progress goes where latentbench shows it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)

from latentbench.digest import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from latentbench.progress import Meter, Progress

__all__ = ["HubError", "HubFile", "fetch", "is_cached"]

PROBE_SECONDS = 5.0


class HubError(Exception):
    """A file that cannot be had from the hub; the text says why.

    Attributes:
        damaged: whether a copy is in the cache, of other content.
    """

    damaged = False


@dataclass(frozen=True)
class HubFile:
    """A file at a revision, and the content it must have.

    Attributes:
        repo: e.g. `kyutai/mimi`.
        revision: the full commit hash.
        name: path in the repository.
        sha256: of the content, hex.
        size: in bytes.
    """

    repo: str
    revision: str
    name: str
    sha256: str
    size: int


def fetch(
    file: HubFile,
    progress: Progress,
    *,
    endpoint: str | None = None,
    cache: Path | None = None,
    patience: float = PROBE_SECONDS,
) -> Path:
    """The verified file in the hub's cache; downloaded if it is not there or is damaged.

    Args:
        file: which.
        progress: where the download is shown.
        endpoint: another address of the hub.
        cache: another cache folder of the hub's client.
        patience: seconds for the hub to answer a first small request.

    Raises:
        HubError: no answer in time, a refusal, a broken transfer, or other content.
    """
    cached = try_to_load_from_cache(file.repo, file.name, cache_dir=cache, revision=file.revision)
    damaged = isinstance(cached, str) and not _holds(Path(cached), file)
    if isinstance(cached, str) and not damaged:
        return Path(cached)
    if damaged:
        progress.say(f"The cached copy '{cached}' is damaged; fetching it again.")
    try:
        _probe(file, endpoint, patience)
        path = _download(file, progress, endpoint, cache, again=damaged)
    except HubError as error:
        error.damaged = damaged
        raise
    if (found := file_digest(path)) != file.sha256:
        raise HubError(f"{file.name} arrived with sha256 {found}, expected {file.sha256}")
    return path


def _holds(path: Path, file: HubFile) -> bool:
    try:
        return file_digest(path) == file.sha256
    except OSError:
        return False


def is_cached(file: HubFile) -> bool:
    """Whether the hub's cache holds the file; its content is only read by `fetch`."""
    return isinstance(try_to_load_from_cache(file.repo, file.name, revision=file.revision), str)


def _probe(file: HubFile, endpoint: str | None, patience: float) -> None:
    """Ask for the file's header; in a thread, as a name look-up obeys no timeout."""
    url = hf_hub_url(file.repo, file.name, revision=file.revision, endpoint=endpoint)
    failure: list[Exception] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(url, timeout=patience)
        except Exception as error:  # noqa: BLE001 - which HTTP client raises depends on the hub's version
            failure.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        raise HubError(f"no answer from {url} within {patience:g} s")
    if failure:
        raise HubError(_first_line(failure[0])) from failure[0]


def _download(
    file: HubFile, progress: Progress, endpoint: str | None, cache: Path | None, *, again: bool
) -> Path:
    title = f"Fetching {file.repo} {file.name}"
    try:
        with progress.task(title, file.size, "B") as meter, _bar(meter) as bar:
            return Path(
                hf_hub_download(
                    file.repo,
                    file.name,
                    revision=file.revision,
                    endpoint=endpoint,
                    cache_dir=cache,
                    force_download=again,
                    tqdm_class=bar,
                )
            )
    except Exception as error:
        raise HubError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@contextmanager
def _bar(meter: Meter) -> Iterator[Any]:
    """A stand-in for the client's bars (tqdm's interface) that reports to `meter`."""

    class Bar:
        """What the client calls on a bar; bytes on the wire and bytes on disk are two tallies."""

        def __init__(self, *_: Any, total: float | None = None, **__: Any) -> None:
            self.total = total
            self.n = 0.0

        def update(self, n: float = 1) -> None:
            self.n += n
            meter.advance(n)

        def update_transfer(self, n: float = 1) -> None:
            """Bytes on the wire; those on disk are shown."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """The rate is the meter's to compute."""

        set_transfer_postfix_str = set_postfix_str
        refresh = set_postfix_str

        def close(self) -> None:
            """The meter ends with its task."""

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

    yield Bar
