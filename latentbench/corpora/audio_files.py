"""Audio in files, read by libsndfile."""

from __future__ import annotations

import hashlib
import io
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile

from latentbench.corpora import ffmpeg
from latentbench.corpora.containers import require_whole
from latentbench.corpora.corpus import (
    MOST_SAMPLES,
    AudioError,
    AudioSource,
    Recording,
    Utterance,
    of_the_machine,
)
from latentbench.corpora.ledger import Header, Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.corpora.ledger import Entry
    from latentbench.workspace import Workspace

__all__ = [
    "READ",
    "SUFFIXES",
    "AudioFile",
    "FileSource",
    "as_decoded",
    "decoded",
    "described",
    "header_in",
    "read_header",
    "require_usable",
]

# The suffixes of the formats libsndfile tells apart by their content (libsndfile 1.2) ...
READ = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".iff", ".mp3", ".nist", ".oga"}
    | {".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sd2", ".sf", ".snd", ".sph", ".svx", ".voc"}
    | {".w64", ".wav", ".wve"}
)
# ... and of audio it does not read, which is listed so that it is skipped by name.
NOT_READ = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".dsf", ".m4a", ".m4b", ".mka", ".mp2", ".mp4"}
    | {".mpc", ".ra", ".spx", ".tta", ".weba", ".webm", ".wma", ".wv"}
)
SUFFIXES = READ | NOT_READ
# Of formats whose samples no standard fixes to the bit: another decoder may give others. PCM, FLAC
# and what is coded by whole numbers (ADPCM, GSM 6.10, mu-law) are the same by any.
INEXACT = frozenset({".mp3", ".oga", ".ogg", ".opus"})
# The decoders of these come with libsndfile, which comes with soundfile or with the system.
DECODER = f"libsndfile {soundfile.__libsndfile_version__}, soundfile {soundfile.__version__}"

# How much fewer samples than its header says an MP3 may have and still be whole: encoders'
# headers are that imprecise (mpg123 warns from there on). Other formats are exact.
SLACK = 0.01
# Full scale is 1, and float files may go a little beyond: 32 is 30 dB. Samples of 16 bits written
# as floats without scaling reach thousands.
LOUDEST = 32.0
# Double precision, and as much of other things.
MOST_BYTES = 16 * MOST_SAMPLES
# libsndfile's words for "the header does not say".
NO_LENGTH = 2**62


class FileSource(AudioSource):
    """The samples of one file.

    Args:
        path: any file libsndfile reads.
        ledger: remembers the digest.
        size: in bytes, where it is known.
    """

    def __init__(self, path: Path, ledger: Ledger, size: int | None = None) -> None:
        self.path = path
        self.size = size
        self._ledger = ledger

    def __repr__(self) -> str:
        return f"FileSource({str(self.path)!r})"

    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [channels, samples]; see `record`."""
        return self.record().samples

    def record(self, sample_rate: float = 0) -> Recording:  # noqa: ARG002 - the file's own counts
        """All samples, their rate, and the digest of the bytes they were decoded from.

        The file is read once, so what is digested is what was decoded, whoever replaces the file
        meanwhile.

        Raises:
            AudioError: `not there`, `is a folder`, `no regular file`, `empty file`, `no samples`,
                `not finite`, `cut short`, `cannot be decoded: ...` and others, in a few words.
            PassingTroubleError: the machine could not read it.
        """
        _require_file(self.path)
        try:
            with of_the_machine(self.path):
                content = self.path.read_bytes()
        except OSError as error:
            raise AudioError(f"cannot be decoded: {_few_words(error)}") from None
        samples, rate = decoded(content, self.path)
        found = hashlib.sha256(content).hexdigest()
        return Recording(samples, rate, as_decoded(found, self.path.suffix))

    def digest(self) -> str:
        """The sha256 of the file's bytes, as hex; see `as_decoded`.

        Raises:
            AudioError: the file cannot be read.
        """
        _require_file(self.path)
        try:
            with of_the_machine(self.path):
                return as_decoded(self._ledger.digest(self.path), self.path.suffix)
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror}") from None

    def describe(self) -> str:
        """The path."""
        return str(self.path)


class FFmpegSource(FileSource):
    """The samples of a file that ffmpeg decodes; its version is part of the digest."""

    @property
    def decoder(self) -> str:
        """What decodes it, where that is not libsndfile."""
        return ffmpeg.version()

    def record(self, sample_rate: float = 0) -> Recording:
        """All samples, their rate, and the digest of the file they were decoded from.

        Raises:
            AudioError: as `FileSource.record`, there is no ffmpeg, or the file changed meanwhile.
        """
        return AudioSource.record(self, sample_rate)

    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [channels, samples]."""
        _require_file(self.path)
        header = _header(self.path)
        with of_the_machine(self.path):
            return require_usable(ffmpeg.samples(self.path, header.channels))

    def digest(self) -> str:
        """Of the file's bytes and of ffmpeg's version.

        Raises:
            AudioError: the file cannot be read, or there is no ffmpeg.
        """
        return hashlib.sha256(f"{super().digest()}|{self.decoder}".encode()).hexdigest()


def as_decoded(digest: str, suffix: str) -> str:
    """The digest of audio, whose latents it tells from others, by that of its bytes.

    Those of MP3, Vorbis and Opus depend on the version of their decoder too.

    Args:
        digest: of the bytes.
        suffix: of the file's name, e.g. `.mp3`.
    """
    if suffix.lower() not in INEXACT:
        return digest
    return hashlib.sha256(f"{digest}|{DECODER}".encode()).hexdigest()


def decoded(content: bytes, what: Path | str) -> tuple[NDArray[np.float32], int]:
    """All samples of an audio file in memory, float32 [channels, samples], and their rate.

    Args:
        content: of the file.
        what: names it where the machine fails.

    Raises:
        AudioError: as `FileSource.record`.
        PassingTroubleError: there is no memory for it.
    """
    try:
        with of_the_machine(what), soundfile.SoundFile(io.BytesIO(content)) as file:
            require_whole(io.BytesIO(content))
            samples = _samples(file, content)
            rate = int(file.samplerate)
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError) as error:
        raise AudioError(f"cannot be decoded: {_few_words(error)}") from None
    return require_usable(samples), rate


def require_usable(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples [samples, channels] as [channels, samples].

    Raises:
        AudioError: there are none, or they are not finite or far beyond full scale.
    """
    if not len(samples):
        raise AudioError("no samples")
    if not np.isfinite(samples).all():
        raise AudioError("not finite")
    if (peak := float(np.abs(samples).max())) > LOUDEST:
        raise AudioError(f"beyond full scale: samples up to {peak:.4g}, which should be 1")
    return np.ascontiguousarray(samples.T)


def read_header(path: Path) -> Header:
    """What the header of an audio file says; decodes nothing.

    Raises:
        AudioError: there is no header libsndfile can read, or the file is not as long as it says.
    """
    _require_file(path)
    try:
        with of_the_machine(path), path.open("rb") as file:
            return header_in(file, path)
    except OSError as error:
        raise AudioError(f"cannot be decoded: {_few_words(error)}") from None


def header_in(file: BinaryIO, what: Path | str) -> Header:
    """What the header of an open audio file says; decodes nothing.

    Raises:
        AudioError: there is no header libsndfile can read, or the file is not as long as it says.
    """
    try:
        with of_the_machine(what):
            with soundfile.SoundFile(file) as audio:
                header = Header(audio.samplerate, audio.frames, audio.channels)
            require_whole(file)
    except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError) as error:
        raise AudioError(f"cannot be decoded: {_few_words(error)}") from None
    _require_length(header)
    return header


@dataclass(frozen=True)
class AudioFile:
    """A file of audio and who speaks in it, before its header is read."""

    path: Path
    id: str
    speaker: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def described(files: Sequence[AudioFile], workspace: Workspace, title: str) -> list[Utterance]:
    """Read the headers of files and list them as utterances; a file that cannot be used says why.

    Headers come from the ledger where the file was not touched since.
    """
    ledger, found = Ledger.of(workspace), []
    with workspace.progress.task(title, len(files), "files") as meter:
        for file, entry in zip(files, ledger.recall(one.path for one in files), strict=True):
            found.append(_described(file, entry, ledger))
            meter.advance()
    ledger.flush()
    return found


def _header(path: Path) -> Header:
    """By ffprobe where libsndfile does not read files of this name; a file is looked at first."""
    if path.suffix.lower() not in ffmpeg.FORMATS:
        return read_header(path)
    _require_file(path)
    with of_the_machine(path):
        header = ffmpeg.header(path)
    _require_length(header)
    return header


def _described(file: AudioFile, entry: Entry | None, ledger: Ledger) -> Utterance:
    problem, rate, seconds = file.problem, 0, 0.0
    try:
        header = entry.header if entry and entry.header else _header(file.path)
        if entry is not None and entry.header is None:
            ledger.remember(entry._replace(header=header))
        rate, seconds = header.sample_rate, header.frames / header.sample_rate
        problem = problem or ("" if header.frames else "no samples")
    except AudioError as error:
        problem = problem or str(error)
    kind = FFmpegSource if file.path.suffix.lower() in ffmpeg.FORMATS else FileSource
    source = kind(file.path, ledger, entry.size if entry else None)
    return Utterance(
        file.id, file.speaker, source, rate, seconds, attributes=file.attributes, problem=problem
    )


def _samples(file: soundfile.SoundFile, content: bytes) -> NDArray[np.float32]:
    """All samples, [samples, channels]; refuses a file that is too long before it allocates."""
    header = Header(file.samplerate, file.frames, file.channels)
    _require_length(header)
    samples: NDArray[np.float32]
    summed = _sum_in_flac(content)
    if summed is None:
        # Named, since a file that cannot be sought in does not say how many are left.
        samples = file.read(header.frames, dtype="float32", always_2d=True)
    else:
        bits, md5 = summed
        levels = file.read(header.frames, dtype="int32", always_2d=True)
        samples = (levels * 2.0**-31).astype(np.float32)
        raw = (levels >> (32 - bits)).astype("<i4").view(np.uint8).reshape(-1, 4)
        written = raw[:, : bits // 8].tobytes()
        if hashlib.md5(written).digest() != md5:  # noqa: S324 - FLAC's own
            raise AudioError("its samples are not those its header was written for")
    if len(samples) < header.frames * (1 - SLACK):
        raise AudioError(f"cut short: {len(samples):,} of {header.frames:,} samples")
    return samples


def _sum_in_flac(content: bytes) -> tuple[int, bytes] | None:
    """Bits of a sample and the MD5 of all of them, where a FLAC carries one (RFC 9639, 8.2)."""
    bits = (int.from_bytes(content[20:22], "big") >> 4 & 0x1F) + 1
    md5 = content[26:42]
    if content[:4] != b"fLaC" or bits not in {8, 16, 24} or not any(md5):
        return None
    return bits, md5


def _require_length(header: Header) -> None:
    if header.frames >= NO_LENGTH:
        raise AudioError("its header does not say how long it is")
    if header.frames * header.channels > MOST_SAMPLES:
        raise AudioError(f"more than {MOST_SAMPLES:,} samples")
    if header.sample_rate <= 0:
        raise AudioError(f"a sample rate of {header.sample_rate} Hz")


def _require_file(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        raise AudioError("not there" if absent else f"cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(found.st_mode):
        raise AudioError("is a folder")
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device may have no end
        raise AudioError("no regular file")
    if not found.st_size:
        raise AudioError("empty file")
    if found.st_size > MOST_BYTES:
        raise AudioError(f"larger than {MOST_BYTES:,} bytes")


def _few_words(error: BaseException) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return (text or type(error).__name__).strip().rstrip(".")
