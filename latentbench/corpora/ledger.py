"""Remembers digests and headers of audio files, so that a large corpus is read only once.

A file is known by its absolute path, its size and its time stamps; a file of which one changed is
looked at again. A row carries a checksum and is forgotten where it does not fit. The ledger is a
convenience: where it cannot be read or written, everything works, only slower.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from latentbench.digest import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from latentbench.workspace import Workspace

__all__ = ["Entry", "Header", "Ledger"]

SCHEMA = """CREATE TABLE IF NOT EXISTS files_v2 (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, digest TEXT, sample_rate INTEGER, frames INTEGER, channels INTEGER,
    checksum INTEGER NOT NULL
) WITHOUT ROWID"""
COLUMNS = "path, size, mtime_ns, ctime_ns, digest, sample_rate, frames, channels, checksum"
# What sqlite says where the file is sound and something else is in the way.
PASSING = ("locked", "readonly", "unable to open", "disk I/O", "is full")
TROUBLES = (sqlite3.Error, OSError, UnicodeDecodeError)
ASK_AT_ONCE = 500
KEEP_AT_MOST = 500
SETTLED_NS = 2_000_000_000


class Header(NamedTuple):
    """What the header of an audio file says: Hz, samples per channel, channels."""

    sample_rate: int
    frames: int
    channels: int


class Entry(NamedTuple):
    """What is known of one state of a file; path, size and time stamps name the state."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    digest: str | None = None
    header: Header | None = None

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file as it is now, of which nothing more is known.

        Raises:
            OSError: the file is not there.
        """
        absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() costs a call per folder
        status = path.stat()
        return cls(absolute, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_same_state(self, other: Entry) -> bool:
        """Whether the file has not been touched between the two."""
        return self[:4] == other[:4]


class Ledger:
    """A sqlite3 file of entries; safe under threads and several processes.

    Entries are written in batches; what was not written when a process dies is learned again.

    Args:
        file: made, with its folder, on first use; made anew where it is damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.RLock()
        self._seen: dict[str, Entry] = {}
        self._pending: dict[str, Entry] = {}  # of those, what is not written yet
        self._finalizer = weakref.finalize(self, _write, file, self._pending, self._lock)

    @classmethod
    def of(cls, workspace: Workspace) -> Self:
        """The ledger of a cache folder."""
        return cls(workspace.cache / "ledger.sqlite3")

    def __reduce__(self) -> tuple[type[Ledger], tuple[Path]]:
        """Another process opens the same file."""
        return Ledger, (self.file,)

    def recall(self, files: Iterable[Path]) -> Iterator[Entry | None]:
        """What is known of each file as it is now; None where the file is not there."""
        paths = list(files)
        for start in range(0, len(paths), ASK_AT_ONCE):
            now = [_now(path) for path in paths[start : start + ASK_AT_ONCE]]
            known = self._known([entry.path for entry in now if entry is not None])
            for entry in now:
                then = known.get(entry.path) if entry else None
                is_known = entry is not None and then is not None and then.is_same_state(entry)
                yield then if is_known else entry

    def remember(self, entry: Entry) -> None:
        """Keep what is known of a file.

        A file touched within the last two seconds is not kept: it may change once more without
        a change of its time stamp, whose steps are that coarse on some file systems.
        """
        if time.time_ns() - max(entry.mtime_ns, entry.ctime_ns) < SETTLED_NS:
            return
        with self._lock:
            self._seen[entry.path] = self._pending[entry.path] = entry
            if len(self._pending) >= KEEP_AT_MOST:
                self.flush()

    def digest(self, path: Path) -> str:
        """The sha256 of a file's bytes, from memory if the file was not touched since.

        Raises:
            OSError: the file cannot be read.
        """
        now = Entry.of(path)
        known = self._seen.get(now.path)
        if known is None or not known.is_same_state(now):
            known = next(self.recall([path])) or now
        header = known.header if known.is_same_state(now) else None
        if known.digest is not None and known.is_same_state(now):
            return known.digest
        digest = file_digest(path)
        if Entry.of(path).is_same_state(now):
            self.remember(now._replace(digest=digest, header=header))
        return digest

    def flush(self) -> None:
        """Write what was learned."""
        _write(self.file, self._pending, self._lock)

    def _known(self, paths: list[str]) -> dict[str, Entry]:
        """What was learned of these files, in whichever state."""
        with self._lock:
            absent = [path for path in paths if path not in self._seen]
            self._seen |= (
                {entry.path: entry for entry in _read(self.file, absent)} if absent else {}
            )
            return {path: self._seen[path] for path in paths if path in self._seen}


@contextlib.contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """A transaction on the file; a file that is no database (any more) is removed.

    A connection lives as long as one transaction, so none crosses a thread or a fork.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            file.touch()  # with the rights of umask: sqlite gives others none to write
        with contextlib.closing(sqlite3.connect(file, timeout=10)) as connection, connection:
            connection.execute(SCHEMA)
            yield connection
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of the message, too
        if not any(words in str(error) for words in PASSING):
            file.unlink(missing_ok=True)
        raise


def _read(file: Path, paths: list[str]) -> list[Entry]:
    marks = ",".join("?" * len(paths))
    query = f"SELECT {COLUMNS} FROM files_v2 WHERE path IN ({marks})"  # noqa: S608 - only marks
    try:
        with _database(file) as connection:
            rows = connection.execute(query, [os.fsencode(path) for path in paths]).fetchall()
    except TROUBLES:
        return []
    return [_entry(*row) for *row, checksum in rows if checksum == _checksum(row)]


def _now(path: Path) -> Entry | None:
    try:
        return Entry.of(path)
    except OSError:
        return None


def _entry(path: bytes, size: int, mtime_ns: int, ctime_ns: int, *facts: Any) -> Entry:
    digest, *header = facts
    known = None if header[0] is None else Header(*header)
    return Entry(os.fsdecode(path), size, mtime_ns, ctime_ns, digest, known)


def _row(entry: Entry) -> tuple[Any, ...]:
    return (os.fsencode(entry.path), *entry[1:5], *(entry.header or (None, None, None)))


def _checksum(row: Sequence[Any]) -> int:
    return zlib.crc32(repr(tuple(row)).encode())


def _write(file: Path, pending: dict[str, Entry], lock: threading.RLock) -> None:
    """Write the entries and clear them; called at the end of the process at the latest."""
    with lock:
        rows = [(*row, _checksum(row)) for row in map(_row, pending.values())]
        pending.clear()
        if not rows:
            return
        marks = ",".join("?" * len(rows[0]))
        insert = f"INSERT OR REPLACE INTO files_v2 ({COLUMNS}) VALUES ({marks})"  # noqa: S608
        with contextlib.suppress(*TROUBLES), _database(file) as connection:
            connection.executemany(insert, rows)
