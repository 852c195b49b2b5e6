"""Files that are whole or not there, and are what was written.

Every file that latentbench reads again is written by `sealed`, which keeps its XXH3-128 checksum
in `XXH128SUMS` of the same folder, a list that `xxh128sum --check` takes too. Every reader goes
through `reading`, which compares first. A file without a line in the list is of an older version,
and taken as it is.

The list names a new file before the file is put in place, and the one before it until the next
is written, so a process may be killed at any moment and no sound file is taken for damaged. A
folder has one writer at a time.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import xxhash

from latentbench.digest import XXH3, file_digest
from latentbench.errors import LatentbenchError, UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "PARTIAL",
    "SUMS",
    "DamagedFileError",
    "atomic",
    "damage",
    "damaged_files",
    "discard",
    "disk_full_explained",
    "is_sealed",
    "reading",
    "require_writable",
    "seal",
    "sealed",
    "sweep",
    "was_sealed_as",
    "write_sealed",
    "write_text",
    "writing",
]

PARTIAL = ".partial"
SUMS = "XXH128SUMS"

# No space, over quota, over the size a file may have: the same remedy for the user.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# "#" marks the checksum a file had before: that of the file in place if a process was killed.
LINE = re.compile(r"(#?)([0-9a-f]{32})  (.+)")


class DamagedFileError(UsageError):
    """A file that is gone or is not what was written; `reason` says why in a few words."""

    def __init__(self, path: Path, reason: str, hint: str) -> None:
        super().__init__(f"'{path}' is damaged: {reason}.", hint)
        self.reason = reason


@contextmanager
def atomic(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A path to write to; it takes the place of `path` at the end, readable as umask says.

    It lies in a folder of its own, `NAME.partial`, with whatever the writing library puts beside
    it. Where the block raises, `path` stays as it was and nothing else is left behind; what a
    killed process left is removed by the next one that writes the file.

    Args:
        path: of the file.
        shared: several processes may write it at once, each aside; what the last one wrote stays.
    """
    own = f".{secrets.token_hex(4)}" if shared else ""
    aside = path.with_name(f"{path.name}{own}{PARTIAL}")
    _remove(aside)
    aside.mkdir()
    try:
        partial = aside / path.name
        yield partial
        partial.chmod(aside.stat().st_mode & 0o666)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        _remove(aside)


@contextmanager
def sealed(path: Path) -> Iterator[Path]:
    """Like `atomic`, for a file that is read again: its checksum is kept."""
    with atomic(path) as partial:
        yield partial
        _record(path, file_digest(partial, XXH3))


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Write a text file atomically, UTF-8; `shared` as in `atomic`."""
    with atomic(path, shared=shared) as partial:
        partial.write_text(text, "utf-8")


def write_sealed(path: Path, text: str) -> None:
    """Write a text file that is read again, UTF-8."""
    with sealed(path) as partial:
        partial.write_text(text, "utf-8")


def require_writable(place: Path, option: str = "--out", *, folder: bool = False) -> None:
    """Refuse, before anything is computed, what could not be written in the end.

    Args:
        place: of the file or folder.
        option: that it was given to.
        folder: whether it is a folder, which is made with those above it.

    Raises:
        UsageError: it cannot be written; says why.
    """
    above = (place, *place.parents) if folder else place.parents
    parent = next(one for one in above if one.exists() or not folder)
    if place.is_dir() and not folder:
        reason = "it is a folder"
    elif not parent.is_dir():
        reason = f"'{parent}' is a file" if parent.exists() else f"there is no folder '{parent}'"
    else:
        reason = "" if os.access(parent, os.W_OK) else f"nobody may write to '{parent}' here"
    if reason:
        raise UsageError(
            f"{option} {place} cannot be written: {reason}.", "Make the folder, or choose another."
        )


@contextmanager
def writing(place: Path, option: str = "--out") -> Iterator[None]:
    """Let the block write what a user named.

    Raises:
        UsageError: the system refused it.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {place} cannot be written: {error.strerror}.") from None


@contextmanager
def reading(path: Path, hint: str) -> Iterator[None]:
    """Check a file, then let the block parse it.

    Args:
        path: the file.
        hint: how it is made again.

    Raises:
        DamagedFileError: it is gone, is not what was written, or cannot be parsed.
        LatentbenchError: the system does not give its content (rights, memory, a bad disk).
    """
    if reason := damage(path):
        raise DamagedFileError(path, reason, hint)
    try:
        yield
    except LatentbenchError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise _unreadable(path, error) from None
        raise DamagedFileError(path, first_line(error), hint) from error


def damage(path: Path) -> str:
    """Why a file is not what was written, in a few words; empty where nothing speaks for it.

    Raises:
        LatentbenchError: the system does not give its content.
    """
    try:
        found = file_digest(path, XXH3)
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        raise _unreadable(path, error) from None
    known = _sums(path.parent).get(path.name)  # after the file: a writer works the other way round
    return "" if known is None or found in known else "its checksum is not that of what was written"


def damaged_files(folder: Path) -> dict[Path, str]:
    """Every file written below this folder, itself only, that is damaged or gone, and why."""
    found = {folder / name: damage(folder / name) for name in _sums(folder)}
    return {file: reason for file, reason in found.items() if reason}


def is_sealed(path: Path) -> bool:
    """Whether there is a checksum to hold the file against."""
    return path.name in _sums(path.parent)


def was_sealed_as(path: Path, text: str) -> bool:
    """Whether this text is what was written as that file, whatever has become of it since."""
    return xxhash.xxh3_128_hexdigest(text.encode()) in _sums(path.parent).get(path.name, ())


def seal(path: Path) -> None:
    """Keep the checksum of a file as it is now."""
    _record(path, file_digest(path, XXH3))


def discard(path: Path) -> None:
    """Remove a file that is not to be there any more, if it is there."""
    known = _sums(path.parent)
    if known.pop(path.name, None) is not None:
        _write_sums(path.parent, known)
    path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a killed writer of this folder left."""
    for leftover in folder.glob(f"*{PARTIAL}"):
        _remove(leftover)


@contextmanager
def disk_full_explained(folder: Path, needed: int = 0) -> Iterator[None]:
    """Turn a full disk into an error that names the folder and the bytes needed, if known.

    Raises:
        LatentbenchError: the block ran out of disk space or quota.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = shutil.disk_usage(folder).free
        more = f"about {_megabytes(needed)}" if needed else "something"
        raise LatentbenchError(
            f"The disk is full: '{folder}' needs {more} more, "
            f"{_megabytes(free)} are free ({error.strerror}).",
            "What was complete stays. Free some space, then give the same command again: "
            "it continues.",
        ) from error


def _unreadable(path: Path, error: Exception) -> LatentbenchError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return LatentbenchError(
        f"'{path}' cannot be read: {reason}.", "What it holds is untouched. Try again."
    )


def _sums(folder: Path) -> dict[str, tuple[str, ...]]:
    """File name -> the checksums it may have; a line that is damaged says nothing."""
    try:
        text = (folder / SUMS).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(folder / SUMS, error) from None
    known: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if found := LINE.fullmatch(line):
            known[found[3]] = (*known.get(found[3], ()), found[2])
    return known


def _record(path: Path, new: str) -> None:
    known = _sums(path.parent)
    before = file_digest(path, XXH3) if path.is_file() and not damage(path) else new
    known[path.name] = (new,) if before == new else (new, before)
    _write_sums(path.parent, known)


def _write_sums(folder: Path, known: dict[str, tuple[str, ...]]) -> None:
    lines = [
        f"{'#' if number else ''}{one}  {name}\n"
        for name, sums in known.items()
        for number, one in enumerate(sums)
    ]
    write_text(folder / SUMS, "".join(lines))


def _remove(leftover: Path) -> None:
    """A `.partial` folder, or the file that older versions made of it."""
    if leftover.is_dir():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
