"""The corpus `webdataset`: samples in tar files, read in place and never unpacked.

Files of a tar that follow one another and share a key are one sample; the key is the path up to
the first dot of the file's name. Source: https://github.com/webdataset/webdataset, "The WebDataset
Format".
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from latentbench.corpora.audio_files import READ, as_decoded, decoded, header_in
from latentbench.corpora.corpus import AudioError, AudioSource, Corpus, Utterance, of_the_machine
from latentbench.corpora.ledger import Ledger
from latentbench.corpora.patterns import PathPattern
from latentbench.errors import UsageError, counted, some
from latentbench.escapes import as_utf8
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from latentbench.corpora.plugin import WebDatasetOptions
    from latentbench.workspace import Workspace

__all__ = ["TarSource", "WebDataset"]

NAME = re.compile(r"((?:.*/)?[^./]*)\.([^/]*)")
LONGEST = 100  # characters of an attribute; transcripts are longer
ADVICE = "Name the field of a sample's .json, or write corpus.speaker_pattern for its key."


class _Member(NamedTuple):
    """A file in a tar: key of its sample, what its name ends with, such as `.json`, and itself."""

    key: str
    suffix: str
    file: tarfile.TarInfo


class TarSource(AudioSource):
    """An audio file within a tar file.

    Args:
        tar: the tar file, not compressed.
        member: key of the sample.
        offset: of the first byte.
        size: in bytes.
        ledger: remembers the digest of the tar.
        suffix: of the file's name.
    """

    def __init__(
        self, tar: Path, member: str, offset: int, size: int, ledger: Ledger, *, suffix: str
    ) -> None:
        self.tar = tar
        self.member = member
        self.offset = offset
        self.size: int = size
        self._ledger = ledger
        self._suffix = suffix

    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [channels, samples].

        Raises:
            AudioError: they cannot be decoded.
            PassingTroubleError: the machine could not read the tar.
        """
        try:
            with of_the_machine(self.tar), self.tar.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror}") from None
        return decoded(content, self.describe())[0]

    def digest(self) -> str:
        """Of the whole tar's content and of the place in it; see `as_decoded`.

        Raises:
            AudioError: the tar cannot be read.
        """
        try:
            with of_the_machine(self.tar):
                whole = self._ledger.digest(self.tar)
        except OSError as error:
            raise AudioError(f"cannot be read: {error.strerror}") from None
        place = hashlib.sha256(f"{whole}|{self.offset}|{self.size}".encode()).hexdigest()
        return as_decoded(place, self._suffix)

    def describe(self) -> str:
        """The tar and the key in it."""
        return f"{self.tar}: {self.member}"


class WebDataset(Corpus):
    """Samples with audio in tar files, in the order of the files and within them."""

    def __init__(self, options: WebDatasetOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._root = expanded(options.root)
        self.name = f"webdataset {as_utf8(self._root.resolve().name)}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder's name and what decides the speakers; the content is in the digests."""
        given = self._options
        by = {"speaker_pattern": given.speaker_pattern} if given.speaker_pattern else {}
        return {
            "corpus": "webdataset",
            "folder": as_utf8(self._root.resolve().name),
            **(by or {"speaker_field": given.speaker_field}),
        }

    def utterances(self) -> Sequence[Utterance]:
        """Every sample that has an audio file.

        A sample whose `.json` names no speaker counts as a speaker of its own.

        Raises:
            UsageError: there are no tar files, one is damaged, or no sample has a speaker.
        """
        tars, ledger = self._tars(), Ledger.of(self._workspace)
        found: list[Utterance] = []
        title = f"listing {self.name}"
        with self._workspace.progress.task(title, len(tars), "files") as meter:
            for tar in tars:
                found.extend(self._listed(tar, ledger))
                meter.advance()
        alone = [one.id for one in found if one.speaker == one.id]
        if found and len(alone) == len(found):
            raise UsageError(f"None of the {len(found)} samples says who speaks in it.", ADVICE)
        if alone:
            self._workspace.progress.say(
                f"{counted(len(alone), 'sample')} without a speaker; each counts as a speaker of "
                f"its own: {some(alone)}"
            )
        return found

    def _tars(self) -> list[Path]:
        root = self._root
        tars = [root] if root.is_file() else sorted(root.glob("*.tar"))
        if not self._options.root or not tars:
            raise UsageError(
                f"corpus.root='{self._options.root}' is no tar file, and no folder of such.",
                "Pass --set corpus.root=/path/to/shards, with *.tar in it, not compressed.",
            )
        return tars

    def _listed(self, tar: Path, ledger: Ledger) -> Iterator[Utterance]:
        try:
            with tarfile.open(tar, "r:") as opened:
                yield from self._samples(tar, opened, ledger)
        except (tarfile.TarError, OSError) as error:
            raise UsageError(f"'{tar}' cannot be read as a tar file: {error}.") from None

    def _samples(self, tar: Path, opened: tarfile.TarFile, ledger: Ledger) -> Iterator[Utterance]:
        seen: set[str] = set()
        for key, group in groupby(_members(opened), key=lambda one: one.key):
            sample = list(group)
            if key in seen:
                raise UsageError(f"'{tar}' has the key '{key}' twice.")
            seen.add(key)
            audio = next((one for one in sample if one.suffix in READ), None)
            if audio is not None:
                told = _json_of(tar, opened, sample)
                file = _content(opened, audio)
                yield self._utterance(tar, audio, file, told, ledger)

    def _utterance(
        self, tar: Path, audio: _Member, file: BinaryIO, told: Mapping[str, Any], ledger: Ledger
    ) -> Utterance:
        key, rate, seconds, problem = audio.key, 0, 0.0, ""
        name = as_utf8(f"{tar.stem}/{key}")
        source = TarSource(
            tar, key, audio.file.offset_data, audio.file.size, ledger, suffix=audio.suffix
        )
        try:
            header = header_in(file, tar)
            rate, seconds = header.sample_rate, header.frames / header.sample_rate
        except AudioError as error:
            problem = str(error)
        return Utterance(
            name,
            as_utf8(self._speaker(key, told)) or name,
            source,
            rate,
            seconds,
            attributes={
                as_utf8(field): as_utf8(text)
                for field, text in told.items()
                if isinstance(text, str) and 0 < len(text) <= LONGEST
            },
            problem=problem,
        )

    def _speaker(self, key: str, told: Mapping[str, Any]) -> str:
        if self._options.speaker_pattern:
            found = PathPattern(self._options.speaker_pattern, "corpus.speaker_pattern").match(key)
            return (found or {}).get("speaker", "")
        given = told.get(self._options.speaker_field)
        return "" if given is None else str(given)


def _members(opened: tarfile.TarFile) -> list[_Member]:
    """The regular files of a tar; their content is passed over."""
    return [
        _Member(found[1], f".{found[2].lower().rpartition('.')[2]}", one)
        for one in opened.getmembers()
        if one.isreg() and (found := NAME.fullmatch(one.name)) is not None
    ]


def _content(opened: tarfile.TarFile, member: _Member) -> BinaryIO:
    return cast("BinaryIO", opened.extractfile(member.file))  # None is for folders and devices


def _json_of(tar: Path, opened: tarfile.TarFile, sample: Sequence[_Member]) -> dict[str, Any]:
    """What the `.json` of a sample says; nothing where there is none."""
    for one in sample:
        if one.suffix == ".json":
            try:
                told = json.load(_content(opened, one))
            except ValueError as error:
                raise UsageError(f"'{tar}': '{one.key}.json' is no JSON: {error}.") from None
            return told if isinstance(told, dict) else {}
    return {}
