"""One writer at a time, on file systems with locks and without, for all who share a folder."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentbench.progress import Progress

__all__ = ["Timeout", "locked"]

# What flock says on network file systems that have no lock service.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
SOFT = ".soft"


@contextmanager
def locked(file: Path, progress: Progress | None = None, waiting: str = "") -> Iterator[None]:
    """Hold `file` against other processes.

    The file is made with the rights of umask, so that whoever shares the folder may lock it.
    Where the file system has no locks, the existence of a file beside it is the lock.

    Args:
        file: made if need be; it stays.
        progress: told `waiting` where another process holds it. None: do not wait.
        waiting: e.g. `Waiting for another process that writes to DIR`.

    Raises:
        Timeout: another process holds it and there is no `progress`.
        OSError: the file cannot be made.
    """
    file.touch()
    lock: BaseFileLock = FileLock(file)
    try:
        _acquire(lock, progress, waiting)
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in NO_LOCKS:
            raise
        lock = SoftFileLock(file.with_name(file.name + SOFT))
        _acquire(lock, progress, waiting)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, progress: Progress | None, waiting: str) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress is None:
            raise
        progress.say(waiting)
        lock.acquire()
