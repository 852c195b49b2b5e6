"""Files below a folder and their speakers, and the corpus `folder` of the user's own audio."""

from __future__ import annotations

import csv
import os
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from latentbench.corpora.audio_files import SUFFIXES, AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.corpora.patterns import PathPattern
from latentbench.digest import file_digest
from latentbench.errors import UsageError, counted, some
from latentbench.escapes import as_utf8
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import FolderOptions
    from latentbench.workspace import Workspace

__all__ = ["Folder", "FolderCorpus", "ListedFile"]


@dataclass(frozen=True)
class ListedFile:
    """A file below the root, what its path is called, and who speaks in it."""

    id: str
    path: PurePosixPath
    speaker: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_alone: bool = False


class FolderCorpus(Corpus):
    """Base of corpora of the user's own files; paths or a CSV say who speaks.

    A file without a speaker in the CSV is a speaker of its own. Other columns of the CSV, and
    other names in the pattern, are attributes of the utterance.

    Attributes:
        kind: the name of the corpus in the configuration.
        content: what its files hold, for messages, e.g. `audio`.
        suffixes: by which such files are known.
        examples: of them, for messages.
    """

    kind: ClassVar[str]
    content: ClassVar[str]
    suffixes: ClassVar[Collection[str]]
    examples: ClassVar[str]

    def __init__(self, options: FolderOptions, workspace: Workspace) -> None:
        self._files = options
        self._workspace = workspace
        self._root = expanded(options.root)
        self._csv = expanded(options.speakers_csv) if options.speakers_csv else None
        self.name = f"{self.kind} {as_utf8(self._root.resolve().name)}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder's name, the paths used, and what decides the speakers.

        Not where the folder is: moved as a whole, it is the same corpus.
        """
        identity = {
            "corpus": self.kind,
            "folder": as_utf8(self._root.resolve().name),
            "glob": self._files.glob,
        }
        if self._csv is None:
            return identity | {"speaker_pattern": self._files.speaker_pattern}
        try:
            return identity | {"speakers_csv": file_digest(self._csv)}
        except OSError as error:
            raise _unreadable(self._csv, error) from None

    @abstractmethod
    def utterances(self) -> Sequence[Utterance]:
        """Every file that fits the pattern, or that the CSV lists; see `listed`."""

    def inside(self, path: str) -> Sequence[str]:
        """Paths of the utterances in a file; here the file is one utterance."""
        return [path]

    def is_there(self, path: PurePosixPath) -> bool:
        """Whether there is something at a path below the root."""
        return (self._root / path).exists()

    def listed(self) -> list[ListedFile]:
        """List every file that fits the pattern, or every file of the CSV, there or not.

        Raises:
            UsageError: no root, no files, no speakers, or a CSV that is none.
        """
        root = self._root
        if not self._files.root:
            raise UsageError(
                f"The corpus '{self.kind}' needs to know the folder.",
                f"Pass --set corpus.root=/path/to/{self.content}",
            )
        if not root.is_dir():
            raise UsageError(f"corpus.root='{root}' is no folder.")
        glob = PathPattern(self._files.glob, "corpus.glob")
        listed = self._from_paths(glob) if self._csv is None else self._from_csv(self._csv, glob)
        return sorted(listed, key=lambda item: PurePosixPath(item.id).parts)

    def _from_paths(self, glob: PathPattern) -> list[ListedFile]:
        pattern = PathPattern(self._files.speaker_pattern, "corpus.speaker_pattern")
        if "speaker" not in pattern.names:
            raise UsageError(
                f"corpus.speaker_pattern={pattern.text!r} does not say where the speaker is.",
                "Write {speaker} in it, e.g. {speaker}/** or {speaker}_*.wav",
            )
        again: list[Path] = []
        paths = {
            name: path
            for file in _files_below(self._root, self.suffixes, again)
            for path in self.inside(file)
            if glob.match(name := as_utf8(path)) is not None
        }
        if not paths:
            raise UsageError(
                f"There is no {self.content} below '{self._root}' that fits "
                f"corpus.glob={glob.text!r}.",
                f"Files are known by their suffix ({self.examples}); "
                "with corpus.speakers_csv any file can be listed.",
            )
        if again:
            links = some([one.relative_to(self._root).as_posix() for one in again])
            self._workspace.progress.say(
                f"{counted(len(again), 'link')} to folders that are listed already, left out: "
                f"{links}"
            )
        named = [(name, found) for name in paths if (found := pattern.match(name)) is not None]
        if not named:
            raise UsageError(
                f"corpus.speaker_pattern={pattern.text!r} fits none of {len(paths)} files, "
                f"e.g. '{next(iter(paths))}'.",
                "Put the files of each speaker into a folder, or write a pattern such as "
                "{speaker}_*.wav, or list the speakers in a CSV (corpus.speakers_csv).",
            )
        if without := sorted(set(paths) - {name for name, _ in named}):
            self._workspace.progress.say(
                f"{len(without)} files of {self.content} do not fit "
                f"corpus.speaker_pattern={pattern.text!r} and are left out: {some(without)}"
            )
        return [
            ListedFile(
                name,
                PurePosixPath(paths[name]),
                found["speaker"],
                {key: text for key, text in found.items() if key != "speaker"},
            )
            for name, found in named
        ]

    def _from_csv(self, file: Path, glob: PathPattern) -> list[ListedFile]:
        listed = [item for item in _rows(file) if glob.match(str(item.path)) is not None]
        if not listed:
            raise UsageError(f"'{file}' lists no file that fits corpus.glob={glob.text!r}.")
        seen: set[PurePosixPath] = set()
        for item in listed:
            if item.path in seen:
                raise UsageError(f"'{file}' lists '{item.path}' twice.")
            seen.add(item.path)
        if not any(self.is_there(item.path) for item in listed):
            raise UsageError(
                f"None of the {len(listed)} files that '{file}' lists is there, "
                f"e.g. '{self._root / listed[0].path}'.",
                "The paths in the CSV are relative to corpus.root.",
            )
        if alone := [str(item.path) for item in listed if item.is_alone]:
            self._workspace.progress.say(
                f"{len(alone)} files have no speaker in '{file}'; "
                f"each counts as a speaker of its own: {some(alone)}"
            )
        return listed


class Folder(FolderCorpus):
    """Audio files below a folder."""

    kind = "folder"
    content = "audio"
    suffixes = SUFFIXES
    examples = ".wav, .flac, .ogg, .mp3, ..."

    def utterances(self) -> Sequence[Utterance]:
        """Every audio file that fits the pattern, or that the CSV lists.

        A file that is listed but absent is an utterance that cannot be read.

        Raises:
            UsageError: as `listed`.
        """
        listed = self.listed()
        linked = _links_to_listed(self._root, listed)
        files = [
            AudioFile(
                self._root / one.path, one.id, one.speaker, one.attributes, linked.get(one.id, "")
            )
            for one in listed
        ]
        return described(files, self._workspace, f"listing {self.name}")


def _files_below(root: Path, suffixes: Collection[str], again: list[Path]) -> Iterator[str]:
    """Paths below root, with forward slashes, of files of these suffixes.

    Each folder is entered once, by its own name where that is below root, else by the first link
    to it; the other links to it are put on the list `again`. Hidden files are left out.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            yield from _below(start, root, suffixes, entered, links, again=again)
        waiting = sorted(links)


def _below(
    start: Path,
    root: Path,
    suffixes: Collection[str],
    entered: set[tuple[int, int]],
    links: list[Path],
    *,
    again: list[Path],
) -> Iterator[str]:
    """The files below one folder; links to folders are not followed but put on the list."""
    for folder, folders, files in os.walk(start, onerror=_refuse):
        place = Path(folder)
        status = place.stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            again.extend([place] if place.is_symlink() else [])
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links.extend(place / name for name in folders if (place / name).is_symlink())
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield (place / name).relative_to(root).as_posix()


def _links_to_listed(root: Path, listed: Sequence[ListedFile]) -> dict[str, str]:
    """Find links to files that are listed too, the same audio twice: id -> what is wrong."""
    links = [item for item in listed if (root / item.path).is_symlink()]
    if not links:
        return {}
    targets = {
        os.path.realpath(root / item.path): item.id
        for item in listed
        if not (root / item.path).is_symlink()
    }
    return {
        item.id: f"a link to '{targets[target]}', which is listed too"
        for item in links
        if (target := os.path.realpath(root / item.path)) in targets
    }


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed must not be taken for an empty one."""
    raise UsageError(f"'{error.filename}' cannot be listed: {error.strerror}.") from None


def _rows(file: Path) -> Iterator[ListedFile]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            if missing := [name for name in ("path", "speaker") if name not in columns]:
                raise UsageError(
                    f"'{file}' has no column {' and no column '.join(map(repr, missing))}.",
                    f"Its first line names: {', '.join(columns) or 'nothing'}.",
                )
            for row in reader:
                yield _listed(file, reader.line_num, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(file, error) from None


def _listed(file: Path, line: int, row: Mapping[str, str | None]) -> ListedFile:
    path = PurePosixPath((row["path"] or "").strip())
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"'{file}', line {line}: {row['path']!r} is no path below corpus.root.",
            "Write paths relative to corpus.root, with forward slashes.",
        )
    speaker = (row["speaker"] or "").strip()
    others = {
        name: text
        for name, text in row.items()
        if name not in {"path", "speaker", None} and isinstance(text, str) and text
    }
    return ListedFile(str(path), path, speaker or str(path), others, is_alone=not speaker)


def _unreadable(file: Path, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(f"corpus.speakers_csv='{file}' cannot be read: {reason}.")
