"""Where a run keeps what it can make again, and to whom it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from latentbench.progress import Progress, SilentProgress

__all__ = ["Workspace", "default_cache"]


def default_cache() -> Path:
    """The user's cache folder for latentbench (`LATENTBENCH_CACHE`, else the platform's)."""
    import os  # noqa: PLC0415

    from platformdirs import user_cache_path  # noqa: PLC0415

    chosen = os.environ.get("LATENTBENCH_CACHE")
    return Path(chosen) if chosen else user_cache_path("latentbench")


@dataclass(frozen=True)
class Workspace:
    """The cache folder and the progress display of one run.

    Folders below `cache`: `downloads/` (corpora and weights), `latents/` (stores),
    `speech-demo/` (made audio).
    """

    cache: Path = field(default_factory=default_cache)
    progress: Progress = field(default_factory=SilentProgress)
