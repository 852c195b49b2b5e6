"""Check that an audio file holds as much as its header promises.

libsndfile reads what is there and says nothing of a file that was cut, or whose header is of
another file. Looked at: RIFF (WAV), RF64, W64, AIFF, AU, CAF, NIST SPHERE, Ogg, VOC, AVR, WVE and
MPC 2000; libsndfile itself refuses a cut FLAC. PVF, IRCAM and PAF state no length.

Sources: Microsoft "Multimedia Programming Interface" 1.0 (RIFF); EBU Tech 3306 (RF64); Sony
"Wave64" (W64); Apple "AIFF-C" 1991 and "Core Audio Format" 1.0; RFC 3533 (Ogg); Creative Labs
"Voice File Format" (VOC); "Audio Visual Research" and Psion formats as `file(1)` describes them;
MPC 2000 as libsndfile 1.2 writes it.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from latentbench.corpora.corpus import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["require_whole"]

Order: TypeAlias = Literal["little", "big"]

# What may follow the samples without being a chunk, as a share of them: tags, a block of zeros.
SLACK = 0.01
# Writers to a pipe do not know the length: they write 0 or, by bytes of a size, as much as this.
UNKNOWN = {4: 0x7FFF0000, 8: 2**63 - 1}
MOST_CHUNKS = 10_000
NIST_HEADER = 1024
MPC2000 = bytes((1, 4))
OGG_PAGE = 27 + 255 + 255 * 255
OGG_LAST = 4


@dataclass(frozen=True)
class _Chunks:
    """Layout of a file format made of chunks; lengths are in bytes.

    Attributes:
        start: of the first chunk.
        name: length of a chunk's name.
        size: length of its size.
        order: of the bytes of a size.
        pad: chunks start at multiples of this.
        data: name of the chunk of samples.
        whole: whether a size counts the name and itself.
    """

    start: int
    name: int
    size: int
    order: Order
    pad: int
    data: tuple[bytes, ...]
    whole: bool = False


W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
RIFF = _Chunks(12, 4, 4, "little", 2, (b"data",))
LAYOUTS = {
    b"RIFF": RIFF,
    b"RF64": RIFF,
    b"BW64": RIFF,
    b"RIFX": _Chunks(12, 4, 4, "big", 2, (b"data",)),
    b"FORM": _Chunks(12, 4, 4, "big", 2, (b"SSND", b"BODY")),
    b"caff": _Chunks(8, 4, 8, "big", 1, (b"data",)),
    b"riff": _Chunks(40, 16, 8, "little", 8, (W64_DATA,), whole=True),
}


def require_whole(file: BinaryIO) -> None:
    """Compare what the header of an audio file promises with what follows it.

    Args:
        file: at any place; reading goes on at its start.

    Raises:
        AudioError: `cut short`, or the file holds more samples than its header promises.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    found = _promised_and_held(file, end)
    file.seek(0)
    if found is None:
        return
    promised, held = found
    if held < promised:
        raise AudioError(f"cut short: {held:,} of {promised:,} bytes")
    if held > promised * (1 + SLACK):
        raise AudioError(f"more than its header says: {held:,} of {promised:,} bytes")


def _promised_and_held(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Bytes of audio that the header promises and that follow; None where it does not say."""
    magic = file.read(4)
    if layout := LAYOUTS.get(magic):
        return _of_chunks(file, end, layout)
    if magic in {b".snd", b"dns."}:
        order: Order = "big" if magic == b".snd" else "little"
        start, size = (int.from_bytes(file.read(4), order) for _ in range(2))
        return (size, end - start) if 0 < size < UNKNOWN[4] else None
    if magic == b"NIST":
        return _of_sphere(magic + file.read(NIST_HEADER - len(magic)), end)
    if magic == b"OggS":
        return _of_ogg(file, end)
    if magic[:2] == MPC2000:
        return _of_mpc(file, end)
    of_header = {b"Crea": _of_voc, b"2BIT": _of_avr, b"ALaw": _of_wve}.get(magic)
    return of_header(file, end) if of_header else None


def _of_chunks(file: BinaryIO, end: int, layout: _Chunks) -> tuple[int, int] | None:
    """Bytes that the chunk of samples promises, and bytes that are no other chunk."""
    large = 0
    for name, start, size in _chunks(file, layout.start, end, layout):
        if name == b"ds64":  # its second number is the size of the samples
            file.seek(start + 8)
            large = int.from_bytes(file.read(8), "little")
        if name in layout.data:
            promised = large or size
            if not 0 < promised < (UNKNOWN[8] if large else UNKNOWN[layout.size]):
                return None
            if start + promised > end:
                return promised, end - start
            return promised, promised + _unexplained(file, start + promised, end, layout)
    return None


def _chunks(file: BinaryIO, at: int, end: int, layout: _Chunks) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and size of each chunk, as long as there are chunks."""
    for _ in range(MOST_CHUNKS):
        at += -at % layout.pad
        file.seek(at)
        name = file.read(layout.name)
        size = int.from_bytes(file.read(layout.size), layout.order)
        start = at + layout.name + layout.size
        if start > end or not name[:4].isascii() or not name[:4].decode().isprintable():
            return
        size -= (layout.name + layout.size) if layout.whole else 0
        yield name, start, size
        if size < 0 or start + size > end:
            return
        at = start + size


def _unexplained(file: BinaryIO, at: int, end: int, layout: _Chunks) -> int:
    """Bytes from `at` on that belong to no chunk, whether chunks are padded or not."""
    left = end - at
    for one in (layout, replace(layout, pad=1)):
        reached = at
        for _, start, size in _chunks(file, at, end, one):
            if start + size <= end:
                reached = start + size
        left = min(left, end - reached)
    return left


def _of_sphere(header: bytes, end: int) -> tuple[int, int] | None:
    """NIST SPHERE counts its samples in a header of text."""
    fields = dict(re.findall(rb"^(\w+) -(?:i|s\d+) (\d+)", header, re.MULTILINE))
    names = (b"sample_count", b"sample_n_bytes", b"channel_count")
    if any(name not in fields for name in names) or b"shorten" in header:
        return None
    count, width, channels = (int(fields[name]) for name in names)
    return count * width * channels, end - NIST_HEADER


def _of_voc(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Creative Voice: blocks of a type and a size of three bytes, until one of type 0."""
    file.seek(20)
    at = int.from_bytes(file.read(2), "little")
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(4)
        if not head or head[0] == 0:
            return None
        size = int.from_bytes(head[1:], "little")
        if at + 4 + size > end:
            return size, max(0, end - at - 4)
        at += 4 + size
    return None


def _of_avr(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Audio Visual Research: 128 bytes, in which channels, bits and frames stand."""
    header = file.read(124)
    if len(header) < 124:  # noqa: PLR2004 - with the magic before it 128
        return None
    channels = 2 if any(header[8:10]) else 1
    width = int.from_bytes(header[10:12], "big") // 8
    return int.from_bytes(header[22:26], "big") * channels * width, end - 128


def _of_wve(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Psion: 32 bytes, in which the length of the A-law samples stands."""
    file.seek(18)
    return int.from_bytes(file.read(4), "big"), end - 32


def _of_mpc(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Akai MPC 2000: 42 bytes, in which frames and channels stand; samples are of 16 bits."""
    file.seek(0)
    header = file.read(42)
    if len(header) < 42:  # noqa: PLR2004 - the header
        return None
    channels = 2 if header[21] else 1
    return int.from_bytes(header[30:34], "little") * channels * 2, end - 42


def _of_ogg(file: BinaryIO, end: int) -> tuple[int, int] | None:
    """Ogg has no length: its last page is whole and says that it is the last."""
    file.seek(max(0, end - 2 * OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    table = page[27 : 27 + page[26]] if len(page) > OGG_LAST + 22 else b""
    whole = len(page) >= 27 + len(table) + sum(table) and bool(table)
    if whole and page[5] & OGG_LAST:
        return None
    raise AudioError("cut short: its last page is missing")
