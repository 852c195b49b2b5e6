"""Writers of a latent store: each has a folder of its own, and shows there that it is at work.

    shards/<stretch>-<time>-<random>/
        alive                   who writes here; touched every few seconds, gone at the end
        000000.safetensors      its shards, and their checksums

No writer ever touches the folder of another one, so nothing has to be locked, and a folder that
several machines share needs nothing but `mkdir` and `rename`. Two who would encode the same
stretch see each other: the later one waits, and takes what the first has written. Were they not to
see each other, both would write the same, and readers take what was written first.
"""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentbench.progress import Progress

__all__ = ["ALIVE", "at_work", "of_writers", "own_folder"]

ALIVE = "alive"
SECONDS_OF_A_BEAT = 5.0
SECONDS_BETWEEN_LOOKS = 0.2
# A network file system may tell a change a minute later.
SILENCE = 120.0
# After so long without a beat, by whatever clock, nobody is at work.
GIVEN_UP = 3600.0


@contextmanager
def own_folder(shards: Path, stretch: str, progress: Progress) -> Iterator[Path]:
    """A folder for what this process writes of a stretch, once nobody else is at work on that.

    Args:
        shards: where the folders of all writers are.
        stretch: its name.
        progress: told that another process is waited for.

    Raises:
        OSError: it cannot be made.
    """
    folder = shards / f"{stretch}-{time.time_ns():020d}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    ended = threading.Event()
    alive = folder / ALIVE
    alive.write_text(f"{os.getpid()} {platform.node()}", "utf-8")
    threading.Thread(target=_beat, args=(alive, ended), daemon=True).start()
    try:
        for other in of_writers(shards, stretch):
            if other < folder:
                _wait_for(other, progress)
        yield folder
    finally:
        ended.set()
        alive.unlink(missing_ok=True)
        with suppress(OSError):  # it holds shards
            folder.rmdir()


def of_writers(shards: Path, stretch: str = "") -> list[Path]:
    """The folders of those who write, or wrote, shards of a stretch or of any; the oldest first."""
    found = (one for one in shards.glob(f"{stretch or '*'}-*-*") if one.is_dir())
    return sorted(found, key=lambda one: (one.name.split("-")[1:], one.name))


def at_work(folder: Path) -> bool:
    """Whether, as far as can be seen at once, a process still writes to its folder."""
    beat = _beat_of(folder)
    return beat is not None and abs(time.time() - beat / 1e9) < GIVEN_UP and not _is_gone(folder)


def _wait_for(folder: Path, progress: Progress) -> None:
    """Until the writer of a folder is done, or was silent for long by the clock of this process."""
    told, last, since = False, -1, time.monotonic()
    while at_work(folder) and time.monotonic() - since < SILENCE:
        if not told:
            progress.say(f"Waiting for another process that writes to {folder.parents[1]}")
            told = True
        if (beat := _beat_of(folder)) != last:
            last, since = beat or 0, time.monotonic()
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _beat(alive: Path, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_OF_A_BEAT):
        with suppress(OSError):
            os.utime(alive)


def _beat_of(folder: Path) -> int | None:
    try:
        return (folder / ALIVE).stat().st_mtime_ns
    except OSError:
        return None


def _is_gone(folder: Path) -> bool:
    """Whether the writer was a process of this machine, and is no more."""
    try:
        process, _, machine = (folder / ALIVE).read_text("utf-8", "replace").partition(" ")
    except OSError:
        return True
    if machine != platform.node() or os.name != "posix" or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
