"""One file of published weights at an address of its own, beside `hub` for files of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from latentbench.digest import file_digest
from latentbench.download import fetch, recorded_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.progress import Progress

__all__ = ["WebFile"]


@dataclass(frozen=True, kw_only=True)
class WebFile:
    """Where a file of weights comes from, and where it is kept.

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

    def is_here(self) -> bool:
        """Whether the file is in its place; its content is only read by `fetch`."""
        return self.place.is_file()

    def fetch(self, progress: Progress, *, otherwise: str = "") -> Path:
        """The verified file in its place, downloaded if it is not there or is damaged.

        Args:
            progress: where the download is shown.
            otherwise: ends the sentence that says how to go on without the download.

        Raises:
            UsageError: the file cannot be had; says how to go on.
        """
        name = self.url.rpartition("/")[2]
        get = partial(
            fetch,
            self.url,
            self.place,
            sha256=self.sha256,
            unverified=not self.sha256,
            progress=progress,
            title=f"Fetching {name}",
            hint=f"Fetch it on a machine with network, then copy it to '{self.place}' or pass "
            f"--set encoder.weights=/path/to/{name}{otherwise}.",
        )
        get()
        if not file_digest(self.place).startswith(self.sha256 or recorded_sha256(self.place)):
            aside = self.place.with_name(f"{self.place.name}.damaged")
            self.place.replace(aside)
            progress.say(f"'{self.place}' is damaged: fetching it again; it is kept as '{aside}'.")
            get()
        return self.place
