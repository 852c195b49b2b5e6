"""Audio in files, read by libsndfile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from latentbench.corpora.corpus import AudioError, AudioSource
from latentbench.corpora.ledger import Entry, Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.corpora.ledger import Ledger
    from latentbench.progress import Progress

__all__ = ["SUFFIXES", "FileSource", "read_header", "sources"]

# The suffixes of the formats libsndfile tells apart by their content (libsndfile 1.2).
SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".iff", ".mp3", ".nist", ".oga"}
    | {".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sd2", ".sf", ".snd", ".sph", ".svx", ".voc"}
    | {".w64", ".wav", ".wve"}
)

# How much fewer samples than its header says an MP3 may have and still be whole: encoders'
# headers are that imprecise (mpg123 warns from there on). Other formats are exact.
SLACK = 0.01


class FileSource(AudioSource):
    """The samples of one file.

    Args:
        path: any file libsndfile reads.
        ledger: remembers the digest.
        known: what the ledger said of the file.
    """

    def __init__(self, path: Path, ledger: Ledger, known: Entry | None = None) -> None:
        self.path = path
        self._ledger = ledger
        self._known = known

    def __repr__(self) -> str:
        return f"FileSource({str(self.path)!r})"

    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [channels, samples].

        Raises:
            AudioError: `not there`, `is a folder`, `empty file`, `no samples`, `not finite`,
                `cut short` or `cannot be decoded: ...`.
        """
        _require_file(self.path)
        try:
            with soundfile.SoundFile(self.path) as file:
                samples = file.read(dtype="float32", always_2d=True)
                cut = len(samples) < file.frames * (1 - SLACK)
        except (soundfile.LibsndfileError, OSError, RuntimeError, MemoryError) as error:
            raise AudioError(f"cannot be decoded: {_few_words(error)}") from None
        if cut:
            raise AudioError("cut short")
        if not len(samples):
            raise AudioError("no samples")
        if not np.isfinite(samples).all():
            raise AudioError("not finite")
        return np.ascontiguousarray(samples.T)

    def digest(self) -> str:
        """The sha256 of the file's bytes, as hex.

        Raises:
            AudioError: the file cannot be read.
        """
        try:
            return self._ledger.digest(self.path, self._known)
        except FileNotFoundError:
            raise AudioError("not there") from None
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror}") from None

    def describe(self) -> str:
        """The path."""
        return str(self.path)


def read_header(path: Path) -> Header:
    """What the header of an audio file says; decodes nothing.

    Raises:
        AudioError: there is no header libsndfile can read.
    """
    _require_file(path)
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"cannot be decoded: {_few_words(error)}") from None
    return Header(info.samplerate, info.frames, info.channels)


def sources(
    paths: Iterable[Path], ledger: Ledger, progress: Progress, title: str
) -> Iterator[tuple[FileSource, Header | None]]:
    """A source for each path, with its header, or None where there is none that can be read.

    Headers come from the ledger where the file was not touched since.
    """
    paths = list(paths)
    with progress.task(title, len(paths), "files") as meter:
        for path, entry in zip(paths, ledger.recall(paths), strict=True):
            known = _with_header(path, entry, ledger)
            yield FileSource(path, ledger, known), known.header if known else None
            meter.advance()
    ledger.flush()


def _with_header(path: Path, entry: Entry | None, ledger: Ledger) -> Entry | None:
    """The entry, completed by the file's header if that can be read."""
    if entry is None or entry.header is not None:
        return entry
    try:
        entry = replace(entry, header=read_header(path))
    except AudioError:
        return entry
    ledger.remember(entry)
    return entry


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise AudioError("is a folder")
    try:
        size = path.stat().st_size
    except OSError:
        raise AudioError("not there") from None
    if not size:
        raise AudioError("empty file")


def _few_words(error: BaseException) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return (text or type(error).__name__).strip().rstrip(".")
