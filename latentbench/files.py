"""Files that are whole or not there, and what a user reads when the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PARTIAL", "atomic", "disk_full_explained", "write_text"]

PARTIAL = ".partial"

# No space, over quota, over the size a file may have: the same remedy for the user.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to in the same folder; it takes the place of `path` at the end.

    Where the block raises, `path` stays as it was and nothing else is left behind.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic(path) as partial:
        partial.write_text(text, "utf-8")


@contextmanager
def disk_full_explained(folder: Path, needed: int) -> Iterator[None]:
    """Turn a full disk into an error that names the folder and the bytes still needed.

    Raises:
        LatentbenchError: the block ran out of disk space or quota.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(folder).free
        raise LatentbenchError(
            f"The disk is full: '{folder}' needs about {_megabytes(needed)} more, "
            f"{_megabytes(free)} are free ({error.strerror}).",
            "What was complete stays. Free some space, then give the same command again: "
            "it continues.",
        ) from error


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
