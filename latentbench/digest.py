"""Checksums of files."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["XXH3", "file_digest"]

XXH3 = "xxh3_128"
BLOCK = 1 << 20


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hex digest of a file's bytes: of any algorithm of `hashlib`, or the far faster `XXH3`.

    Raises:
        OSError: the file cannot be read.
    """
    state = xxhash.xxh3_128() if algorithm == XXH3 else hashlib.new(algorithm)
    with path.open("rb", buffering=0) as file:
        block = memoryview(bytearray(min(BLOCK, os.fstat(file.fileno()).st_size + 1)))
        while count := file.readinto(block):
            state.update(block[:count])
    return state.hexdigest()
