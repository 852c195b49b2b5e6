"""LibriSpeech (Panayotov et al., ICASSP 2015): a local copy, or a subset downloaded once.

https://www.openslr.org/12 and https://www.openslr.org/31 (the two subsets for regression tests).
"""

from __future__ import annotations

import itertools
import re
import shutil
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentbench.corpora.audio_files import AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.download import fetch, only_writer
from latentbench.errors import LatentbenchError, UsageError, nearest
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import LibriSpeechOptions
    from latentbench.progress import Progress
    from latentbench.workspace import Workspace

__all__ = ["ARCHIVES", "LibriSpeech", "read_speakers"]

SPEAKERS = "SPEAKERS.TXT"
FILE_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.flac", re.ASCII)
GO_ON = (
    "Without network: pass a local copy with --set corpus.root=/path/to/LibriSpeech, name a mirror "
    "with --set corpus.mirror=URL, or try --preset demo, which needs neither."
)


# Checksums of the archives. sha256: as carried by torchaudio 2.11
# (torchaudio.datasets.librispeech); md5: https://www.openslr.org/resources/31/md5sum.txt, which
# gives no other.
ARCHIVES = {
    "dev-clean": "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "train-clean-5": "md5:5df7d4e78065366204ca6845bb08f490",
    "dev-clean-2": "md5:6d7ab67ac6a1d2c993d050e16d61080d",
}
OF_RESOURCE_31 = ("train-clean-5", "dev-clean-2")  # of OpenSLR; the others are of resource 12


class LibriSpeech(Corpus):
    """Subsets of LibriSpeech, ordered by speaker, chapter and utterance as numbers.

    Attributes of an utterance: `sex` (F or M, from SPEAKERS.TXT), `subset`, `chapter`.
    """

    def __init__(self, options: LibriSpeechOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        # Named twice is named once.
        self._subsets = list(dict.fromkeys(filter(None, options.subset.split("+"))))
        if not self._subsets:
            raise UsageError("corpus.subset is empty.", nearest("", ARCHIVES))
        self.name = f"librispeech {'+'.join(self._subsets)}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The subsets, in order of name; wherever the copy is, it is the same corpus."""
        return {"corpus": "librispeech", "subset": "+".join(sorted(self._subsets))}

    def is_at_hand(self) -> bool:
        """Whether a root was given, or all subsets are in the cache."""
        there = self._downloads / "LibriSpeech"
        return bool(self._options.root) or all((there / one).is_dir() for one in self._known())

    def utterances(self) -> Sequence[Utterance]:
        """Every utterance of the subsets, downloading them first where no root was given.

        Raises:
            UsageError: the root is not LibriSpeech, a subset is not there or not known, or the
                download failed.
        """
        try:
            root = self._local_root() if self._options.root else self._downloaded_root()
            places = sorted(place for subset in self._subsets for place in _places(root, subset))
        except OSError as error:
            raise UsageError(f"'{error.filename}' cannot be listed: {error.strerror}.") from None
        sexes = read_speakers(root / SPEAKERS)
        _refuse_doubles(places)
        files = [
            AudioFile(
                place.path,
                id=place.path.stem,
                speaker=str(place.speaker),
                attributes={
                    "sex": sexes.get(place.speaker, ""),
                    "subset": place.subset,
                    "chapter": str(place.chapter),
                },
            )
            for place in places
        ]
        return described(files, self._workspace, f"listing {self.name}")

    def _local_root(self) -> Path:
        given = expanded(self._options.root)
        for root in (given, given / "LibriSpeech"):
            if (root / SPEAKERS).is_file():
                _require_subsets(root, self._subsets)
                return root
        hint = "corpus.root is the folder that holds SPEAKERS.TXT and folders such as dev-clean."
        if not given.is_dir():
            raise UsageError(f"There is no folder '{given}'.", hint)
        if (given.parent / SPEAKERS).is_file():
            hint = f"Pass its parent: --set corpus.root={given.parent}"
        raise UsageError(f"'{given}' is not LibriSpeech: it holds no SPEAKERS.TXT.", hint)

    def _downloaded_root(self) -> Path:
        folder = self._downloads
        root = folder / "LibriSpeech"
        for subset in self._known():
            if not (root / subset).is_dir():
                self._download(subset, folder, root)
            # Also where the process was killed after unpacking; not where others own the cache.
            with suppress(OSError):
                (folder / f"{subset}.tar.gz").unlink()
        return root

    @property
    def _downloads(self) -> Path:
        return self._workspace.folder("downloads") / "librispeech"

    def _known(self) -> list[str]:
        """The subsets, all of which can be downloaded."""
        for subset in self._subsets:
            if subset not in ARCHIVES:
                raise UsageError(
                    f"LibriSpeech has no subset '{subset}'.", nearest(subset, ARCHIVES)
                )
        return self._subsets

    def _download(self, subset: str, folder: Path, root: Path) -> None:
        resource = 31 if subset in OF_RESOURCE_31 else 12
        mirror = self._options.mirror.rstrip("/")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LatentbenchError(
                f"The folder '{folder}' cannot be made: {error.strerror}.",
                "Choose another place with --cache.",
            ) from None
        title = f"LibriSpeech {subset}"
        with only_writer(folder / subset, self._workspace.progress, title):
            if (root / subset).is_dir():  # another process was faster
                return
            packed = fetch(
                f"{mirror}/{resource}/{subset}.tar.gz",
                folder / f"{subset}.tar.gz",
                checksum=ARCHIVES[subset],
                progress=self._workspace.progress,
                title=title,
                hint=GO_ON,
            )
            _unpack(packed, subset, root, self._workspace.progress)


@dataclass(frozen=True, order=True)
class _Place:
    """One utterance, ordered by its numbers."""

    speaker: int
    chapter: int
    utterance: int
    subset: str
    path: Path


def read_speakers(file: Path) -> dict[int, str]:
    """The sex, `F` or `M`, of every speaker named in SPEAKERS.TXT.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        text = file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"'{file}' cannot be read: {error.strerror}.") from None
    sexes = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 1 and cells[0].isdecimal():
            sexes[int(cells[0])] = cells[1]
    return sexes


def _require_subsets(root: Path, subsets: list[str]) -> None:
    there = sorted(
        folder.name
        for folder in root.iterdir()
        if folder.is_dir() and (folder.name in ARCHIVES or any(_chapters(folder)))
    )
    for subset in subsets:
        if subset not in there:
            raise UsageError(
                f"There is no subset '{subset}' in '{root}'.",
                f"There: {', '.join(there)}." if there else "No subset is there.",
            )


def _chapters(folder: Path) -> list[Path]:
    return [
        chapter
        for speaker in folder.iterdir()
        if speaker.name.isdecimal() and speaker.is_dir()
        for chapter in speaker.iterdir()
        if chapter.name.isdecimal() and chapter.is_dir()
    ]


def _places(root: Path, subset: str) -> list[_Place]:
    places = []
    for chapter in _chapters(root / subset):
        for file in chapter.iterdir():
            if found := FILE_NAME.fullmatch(file.name):
                speaker, number, utterance = map(int, found.groups())
                places.append(_Place(speaker, number, utterance, subset, file))
    if not places:
        raise UsageError(
            f"The subset '{root / subset}' holds no utterances.",
            "Expected files such as 84/121123/84-121123-0000.flac.",
        )
    return places


def _refuse_doubles(places: list[_Place]) -> None:
    """A subset of another subset would count its utterances twice."""
    for one, two in itertools.pairwise(places):
        if one.path.name == two.path.name:
            raise UsageError(
                f"The utterance {one.path.stem} is in '{one.subset}' and in '{two.subset}'.",
                "Name subsets that do not overlap.",
            )


def _unpack(archive: Path, subset: str, root: Path, progress: Progress) -> None:
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
                    _write(tar, member, under_way / _path_of(member, subset))
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


def _path_of(member: tarfile.TarInfo, subset: str) -> str:
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
