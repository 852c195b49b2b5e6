"""Unpacks a LibriSpeech archive so that the subset appears whole or not at all."""

from __future__ import annotations

import re
import shutil
import tarfile
from typing import TYPE_CHECKING

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.progress import Progress

__all__ = ["unpack"]


def unpack(archive: Path, subset: str, root: Path, progress: Progress) -> None:
    """Unpack `LibriSpeech/<subset>/...` and the text files beside it to `root`.

    An unpacking that was interrupted goes on: files that are there whole are not written again.
    Nothing but regular files of LibriSpeech's layout is ever written, so no archive can reach
    outside `root`.

    Raises:
        LatentbenchError: the archive is damaged, holds something else, or cannot be written.
    """
    under_way = root.with_name(f".unpacking-{subset}")
    try:
        with (
            archive.open("rb") as raw,
            progress.task(f"unpacking {subset}", archive.stat().st_size, "bytes") as meter,
            tarfile.open(fileobj=raw, mode="r|gz") as tar,
        ):
            done = 0
            for member in tar:
                if not member.isdir():
                    _write(tar, member, under_way / _place(member, subset))
                meter.advance(raw.tell() - done)
                done = raw.tell()
        root.mkdir(parents=True, exist_ok=True)
        for text in under_way.glob("*.TXT"):
            text.replace(root / text.name)
        (under_way / subset).replace(root / subset)
    except (tarfile.TarError, EOFError) as error:
        raise LatentbenchError(
            f"The archive '{archive}' is damaged: {error}.", "Remove it and run the command again."
        ) from None
    except OSError as error:
        raise LatentbenchError(
            f"'{archive}' cannot be unpacked to '{root}': {error.strerror or error}.",
            "Make room or choose another place with --cache, and run the command again: "
            "it goes on where it stopped.",
        ) from None
    shutil.rmtree(under_way, ignore_errors=True)


def _place(member: tarfile.TarInfo, subset: str) -> str:
    """Where the member goes below the root; the pattern leaves no room for `..` or links."""
    found = re.fullmatch(
        rf"(?:\./)?LibriSpeech/([A-Z]+\.TXT|{re.escape(subset)}/\d+/\d+/[\w-]+(?:\.\w+)+)",
        member.name,
        re.ASCII,
    )
    if found is None or not member.isreg():
        raise tarfile.TarError(f"it holds {member.name!r}, which is no file of {subset}")
    return found.group(1)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if path.exists() and path.stat().st_size == member.size:
        return
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.TarError(f"it holds {member.name!r} without content")
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    with content, half.open("wb") as file:
        shutil.copyfileobj(content, file)
    half.replace(path)
