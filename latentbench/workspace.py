"""Where a run keeps what it can make again, and to whom it reports."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentbench.errors import UsageError
from latentbench.progress import Progress, SilentProgress

__all__ = ["Workspace", "default_cache", "expanded", "is_ours", "make_ours"]

# https://bford.info/cachedir: backups leave such folders out, and `cache remove` no others.
TAG = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# latentbench"
EXPLANATION = " keeps here what it can make again.\n# See https://bford.info/cachedir\n"


def default_cache() -> Path:
    """The user's cache folder for latentbench (`LATENTBENCH_CACHE`, else the platform's).

    Raises:
        UsageError: the variable is empty, or there is no home folder.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415

    chosen = os.environ.get("LATENTBENCH_CACHE")
    if chosen is not None and not chosen.strip():
        raise UsageError(
            "LATENTBENCH_CACHE is empty.", "Unset it, or give it the path of the cache folder."
        )
    # platformdirs leaves a `~` where the system knows no home; a folder of that name is no cache.
    try:
        return (Path(chosen) if chosen else user_cache_path("latentbench")).expanduser()
    except RuntimeError:
        raise UsageError(
            "There is no home folder, so there is no place for the cache.",
            "Name it with --cache or LATENTBENCH_CACHE, or set HOME.",
        ) from None


def expanded(path: str) -> Path:
    """A path as a user writes it: `~` is home, and that of a user who is not known stays so."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's ends without a home


def is_ours(folder: Path) -> bool:
    """Whether latentbench made this folder of a cache."""
    try:
        return (folder / TAG).read_text("utf-8", "replace").startswith(SIGNATURE)
    except OSError:
        return False


def make_ours(folder: Path) -> None:
    """Make a folder of the cache and mark it; one that already holds something is not marked.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.iterdir(), None) is None:
        (folder / TAG).write_text(SIGNATURE + EXPLANATION, "utf-8")


@dataclass(frozen=True)
class Workspace:
    """The cache folder, the progress display and the trackers of one run or several.

    Folders below `cache`: `downloads/` (corpora and weights), `latents/` (stores),
    `speech-demo/` (made audio). `fitted` holds what factorisations have learned here, by all that
    decided it: the runs of a comparison that look at the same states fit them once. `beside` are
    the folders of its runs: what one has fitted is not fitted again by another.
    """

    cache: Path = field(default_factory=default_cache)
    progress: Progress = field(default_factory=SilentProgress)
    trackers: tuple[Any, ...] = ()
    fitted: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    beside: tuple[Path, ...] = ()

    def folder(self, name: str) -> Path:
        """A folder below the cache, marked as ours where it is made now; it may not be writable."""
        with suppress(OSError):
            make_ours(self.cache / name)
        return self.cache / name
