"""The corpus `hf`: a dataset of Hugging Face's `datasets`, from the hub or from a local folder.

Its rows are streamed once, and the audio files in them are kept in the cache byte for byte; from
there on it is a corpus of files. Nothing is decoded by `datasets`, so no decoder of its is needed,
and a killed download goes on at the row where it was.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile

from latentbench.corpora.audio_files import AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.corpora.ledger import Ledger
from latentbench.errors import UsageError, nearest
from latentbench.escapes import as_utf8
from latentbench.files import atomic, write_sealed, write_text
from latentbench.locks import locked
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import HFOptions
    from latentbench.workspace import Workspace

__all__ = ["HuggingFace"]

ROWS = "rows.jsonl"
READY = "ready.json"
LOCK = "lock"
DIGITS = 8
NO_AUDIO = "no audio in its row"
# What a file begins with -> the suffix it is kept under; a name in the dataset says it else.
MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3"}


class HuggingFace(Corpus):
    """Rows of one split, in their order; the id of an utterance is its row."""

    def __init__(self, options: HFOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._local = expanded(options.path)
        self.name = f"hf {self._local.name} {options.split}"

    @property
    def identity(self) -> Mapping[str, str]:
        """What names the rows, the digests of a local folder's files, and the decoder."""
        given = self._options
        if not given.path:
            raise UsageError(
                "The corpus 'hf' needs a dataset.",
                "Pass --set corpus.path=OWNER/NAME, or a folder with Parquet files.",
            )
        if self._local.is_dir():
            where = {"folder": as_utf8(self._local.resolve().name), "content": self._content()}
        else:
            where = {"path": given.path, "revision": given.revision}
        return {
            "corpus": "hf",
            **where,
            "subset": given.subset,
            "split": given.split,
            "audio": given.audio,
            "speaker": given.speaker,
            "take": str(given.take),
            "decoder": f"libsndfile {soundfile.__libsndfile_version__}",
        }

    def is_at_hand(self) -> bool:
        """Whether it is a local folder, or its rows are in the cache."""
        return self._local.is_dir() or (self._folder() / READY).exists()

    def utterances(self) -> Sequence[Utterance]:
        """Every row; one without audio says so.

        Raises:
            UsageError: there is no such dataset, split or column, or it cannot be had.
        """
        folder = self._folder()
        if not (folder / READY).exists():
            folder.mkdir(parents=True, exist_ok=True)
            waiting = f"Waiting for another process that fetches '{self.name}'"
            with locked(folder / LOCK, self._workspace.progress, waiting):
                if not (folder / READY).exists():
                    self._fetch(folder)
        rows = [json.loads(line) for line in (folder / ROWS).read_text("utf-8").splitlines()]
        files = [
            AudioFile(
                folder / one["file"],
                one["id"],
                one["speaker"],
                one["attributes"],
                "" if one["file"] else NO_AUDIO,
            )
            for one in rows
        ]
        return described(files, self._workspace, f"listing {self.name}")

    def _folder(self) -> Path:
        """Where the rows are kept."""
        named = {**self.identity, "attributes": self._options.attributes}
        named.pop("decoder")
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
        return self._workspace.folder("hf") / digest[:16]

    def _content(self) -> str:
        """A digest of the files of a local folder and their paths."""
        ledger, digest = Ledger.of(self._workspace), hashlib.sha256()
        for file in sorted(one for one in self._local.rglob("*") if one.is_file()):
            name = file.relative_to(self._local).as_posix()
            digest.update(f"{name}|{ledger.digest(file)}\n".encode())
        return digest.hexdigest()

    def _fetch(self, folder: Path) -> None:
        """Bring the rows into the cache, going on after those that are there."""
        written = folder / ROWS
        text = written.read_text("utf-8") if written.exists() else ""
        write_text(written, text[: text.rfind("\n") + 1])  # without a line that was cut by a kill
        done = text.count("\n")
        title = f"fetching {self.name}"
        total = self._options.take or None
        with (
            self._workspace.progress.task(title, total, "rows", done) as meter,
            written.open("a", encoding="utf-8") as lines,
        ):
            for number, row in enumerate(self._rows(done), done):
                lines.write(json.dumps(self._kept(folder, number, row)) + "\n")
                lines.flush()
                meter.advance()
        write_sealed(folder / READY, json.dumps(dict(self.identity), indent=2))

    def _rows(self, done: int) -> Iterator[dict[str, Any]]:
        try:
            dataset = self._opened()
            yield from islice(dataset.skip(done), self._left(done))
        except UsageError:
            raise
        except Exception as error:  # whatever the library and the network raise
            raise UsageError(
                f"The dataset '{self._options.path}' cannot be read: "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                "Look at corpus.path, subset, split and revision, and at the network. The same "
                "command goes on where this one ended.",
            ) from error

    def _left(self, done: int) -> int | None:
        return max(0, self._options.take - done) if self._options.take else None

    def _opened(self) -> Any:
        """The dataset as a stream whose audio is bytes."""
        import datasets  # noqa: PLC0415 - an extra

        given = self._options
        if (self._local / "state.json").exists() or (self._local / "dataset_dict.json").exists():
            found = datasets.load_from_disk(str(self._local))
            if isinstance(found, datasets.DatasetDict):
                if given.split not in found:
                    raise UsageError(
                        f"'{self._local}' has no split '{given.split}'.",
                        nearest(given.split, found),
                    )
                found = found[given.split]
            stream = found.to_iterable_dataset()
        else:
            stream = datasets.load_dataset(
                str(self._local) if self._local.is_dir() else given.path,
                given.subset or None,
                split=given.split,
                revision=None if self._local.is_dir() else given.revision,
                streaming=True,
            )
        self._require_columns(stream.column_names or stream.features or ())
        return stream.cast_column(given.audio, datasets.Audio(decode=False))

    def _require_columns(self, names: Iterable[str]) -> None:
        known = [*names]
        for column in (self._options.audio, self._options.speaker, *self._attributes()):
            if column not in known:
                raise UsageError(
                    f"The dataset '{self._options.path}' has no column '{column}'.",
                    f"It has: {', '.join(known)}. Set corpus.audio, speaker and attributes.",
                )

    def _attributes(self) -> list[str]:
        return [one.strip() for one in self._options.attributes.split(",") if one.strip()]

    def _kept(self, folder: Path, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the audio of a row as a file; what is to be known of it."""
        audio = row[self._options.audio] or {}
        content = audio.get("bytes") or _of_file(audio.get("path"))
        id_, name, speaker = f"{number:0{DIGITS}d}", "", row[self._options.speaker]
        if content:
            name = f"{id_}{_suffix(content, audio.get('path'))}"
            with atomic(folder / name) as partial:
                partial.write_bytes(content)
        return {
            "id": id_,
            "file": name,
            "speaker": id_ if speaker is None else str(speaker),
            "attributes": {key: str(row[key]) for key in self._attributes()},
        }


def _of_file(path: str | None) -> bytes:
    """The content of a local file that a row names in place of bytes."""
    return Path(path).read_bytes() if path and Path(path).is_file() else b""


def _suffix(content: bytes, path: str | None) -> str:
    known = (suffix for magic, suffix in MAGIC.items() if content.startswith(magic))
    return next(known, Path(path or "").suffix or ".audio")
