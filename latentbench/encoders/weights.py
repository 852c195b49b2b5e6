"""Download of published weights, from the Hugging Face Hub or another address, verified."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined,unused-ignore]

from latentbench.digest import file_digest
from latentbench.download import fetch, recorded_sha256, require_lookup
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.progress import Meter, Progress

__all__ = ["HubError", "HubFile", "Published", "WebFile"]

PROBE_SECONDS = 5.0
SHA256 = re.compile(r"[0-9a-f]{64}")
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")


class Published(Protocol):
    """A file of weights as its authors published it; its text is what a user is told to get."""

    @property
    def name(self) -> str:
        """What the file is called."""

    def is_here(self) -> bool:
        """Whether `fetch` would download nothing; content is only looked at by `fetch`."""

    def fetch(self, progress: Progress, otherwise: str = "") -> Path:
        """The verified file; downloaded if it is not here or is damaged.

        Args:
            progress: where the download is shown.
            otherwise: ends the sentence that says how to go on without the download.

        Raises:
            UsageError: it cannot be had; says how to go on.
        """

    def within(self, folder: Path) -> Iterator[Path]:
        """Where the weights may be in a folder that a user copied."""


class HubError(Exception):
    """A file that cannot be had from the hub; the text says why.

    Attributes:
        damaged: whether a copy is in the cache, of other content.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of the hub, kept in the cache of the hub's own client.

    Attributes:
        repo: e.g. `kyutai/mimi`.
        revision: the full commit hash, or a branch.
        name: path in the repository.
        sha256: of the content, hex; empty where the hub's word is taken, which has one for every
            large file.
        beside: other files of the repository that a user's copy should hold.
        access: what the hub asks of a user before it gives the file, if anything.
    """

    repo: str
    revision: str
    name: str
    sha256: str = ""
    beside: tuple[str, ...] = ()
    access: str = ""

    def __str__(self) -> str:
        return f"{' and '.join((*self.beside, self.name))} of {self.repo}"

    def is_here(self) -> bool:
        """Whether the hub's cache holds the file."""
        return self._cached(None) is not None

    def within(self, folder: Path) -> Iterator[Path]:
        """The file, or safetensors by their usual names; also where the hub's cache has them."""
        for place in (folder, folder / "snapshots" / self.revision):
            yield from (place / name for name in (self.name, *SAFETENSORS))

    def fetch(
        self,
        progress: Progress,
        otherwise: str = "",
        *,
        endpoint: str | None = None,
        cache: Path | None = None,
    ) -> Path:
        """The verified file, from the hub's cache or the hub; see `Published.fetch`."""
        try:
            return self.download(progress, endpoint=endpoint, cache=cache)
        except HubError as error:
            folder = self.repo.rpartition("/")[2]
            access = f"{self.access}\n" if self.access else ""
            here = "here are damaged" if error.damaged else "are not here"
            raise UsageError(
                f"The weights of {self.repo} {here} and cannot be downloaded: {error}.",
                f"{access}To go on: on a machine with a network run\n"
                f"    hf download {self.repo} {' '.join((*self.beside, self.name))}"
                f" --revision {self.revision} --local-dir {folder}\n"
                "copy the folder here and add "
                f"--set encoder.weights=/path/to/{folder}{otherwise};\n"
                "or --preset demo, which needs neither network nor weights.",
            ) from error

    def download(
        self,
        progress: Progress,
        *,
        endpoint: str | None = None,
        cache: Path | None = None,
        patience: float = PROBE_SECONDS,
    ) -> Path:
        """The verified file, from the hub's cache or the hub.

        What the hub's client leaves open is settled here: whether there is a network is found out
        in seconds (the client retries for half a minute), content is compared with a sha256 (the
        client compares sizes), and progress goes where latentbench shows it.

        Args:
            progress: where the download is shown.
            endpoint: another address of the hub.
            cache: another cache folder of the hub's client.
            patience: seconds for the hub to answer a first small request.

        Raises:
            HubError: no answer in time, a refusal, a broken transfer, or other content.
        """
        cached = self._cached(cache)
        if cached is not None and not self._other_content(cached):
            return cached
        if cached is not None:
            progress.say(f"The cached copy '{cached}' is damaged; fetching it again.")
        damaged = cached is not None
        url = hf_hub_url(self.repo, self.name, revision=self.revision, endpoint=endpoint)
        try:
            if not constants.HF_HUB_OFFLINE:
                require_lookup(url)
            size = get_hf_file_metadata(url, timeout=patience).size
            with progress.task(f"Fetching {self.repo} {self.name}", size, "B") as meter:
                file = hf_hub_download(
                    self.repo,
                    self.name,
                    revision=self.revision,
                    endpoint=endpoint,
                    cache_dir=cache,
                    force_download=damaged,
                    tqdm_class=_reporting(meter),
                )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise HubError(f"{type(error).__name__}: {reason}", damaged=damaged) from error
        if found := self._other_content(Path(file)):
            expected = self._expected(Path(file))
            raise HubError(f"{self.name} arrived with sha256 {found}, expected {expected}")
        return Path(file)

    def _cached(self, cache: Path | None) -> Path | None:
        found = try_to_load_from_cache(
            self.repo, self.name, cache_dir=cache, revision=self.revision
        )
        return Path(found) if isinstance(found, str) else None

    def _expected(self, file: Path) -> str:
        """The sha256 the content must have; the client names large files by the hub's sha256."""
        blob = file.resolve().name
        return self.sha256 or (blob if SHA256.fullmatch(blob) else "")

    def _other_content(self, file: Path) -> str:
        """The sha256 of a file that is not what it should be; empty where it is."""
        expected = self._expected(file)
        found = file_digest(file) if expected else ""
        return found if found != expected else ""


@dataclass(frozen=True, kw_only=True)
class WebFile:
    """A file at an address of its own.

    Attributes:
        url: its address.
        place: the file it is kept as, where a model's own package looks for it or below
            `workspace.folder("downloads")`; a copy put there by hand will do.
        sha256: of the content, hex; or its first digits where its authors publish no more;
            empty where they publish none: the user is then told so, and what came.
    """

    url: str
    place: Path
    sha256: str = ""

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def is_here(self) -> bool:
        """Whether the file is in its place."""
        return self.place.is_file()

    def within(self, folder: Path) -> Iterator[Path]:
        """The file by its name."""
        yield folder / self.name

    def fetch(self, progress: Progress, otherwise: str = "") -> Path:
        """The verified file in its place; see `Published.fetch`."""
        get = partial(
            fetch,
            self.url,
            self.place,
            checksum=self.sha256 and f"sha256:{self.sha256}",
            progress=progress,
            title=f"Fetching {self.name}",
            hint=f"Fetch it on a machine with network, then copy it to '{self.place}' or pass "
            f"--set encoder.weights=/path/to/{self.name}{otherwise}.",
        )
        get()
        if not file_digest(self.place).startswith(self.sha256 or recorded_sha256(self.place)):
            aside = self.place.with_name(f"{self.place.name}.damaged")
            self.place.replace(aside)
            progress.say(f"'{self.place}' is damaged: fetching it again; it is kept as '{aside}'.")
            get()
        return self.place


def _reporting(meter: Meter) -> Any:
    """A bar for the hub's client that shows nothing itself and reports to `meter`."""

    class Bar(tqdm):  # type: ignore[misc,unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call,unused-ignore]

        def update(self, n: float | None = 1) -> None:
            meter.advance(n or 0)

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire; those on disk are shown."""

        def set_transfer_postfix_str(self, *_: Any, **__: Any) -> None:
            """The rate is the meter's to compute."""

    return Bar
