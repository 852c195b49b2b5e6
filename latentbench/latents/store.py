"""The latent store: one folder per (encoder fingerprint, corpus), safe to kill at any moment.

    <cache>/latents/<slug>-<digest>/
        store.json                   what the key was made of
        shards/<writer>/
            000000.safetensors       latents [rows, D] and energy [rows], whole batches
            000000.parquet           which utterance is where
            XXH128SUMS               the checksums of both

A shard counts once its Parquet index is there, and that is renamed into place after the
shard itself. Every writer has a folder of its own (`latentbench.latents.writers`); the shards of
earlier versions, and those of a store derived from another, are in `shards/` itself. Where two
shards have the same utterance, the one that was written first is read.

An utterance is found by its id *and* the digest of its audio, so changed audio is encoded again,
while a limited run, a grown corpus and a full run share what they have in common. Everything else
that changes the numbers is in the key.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from latentbench.errors import LatentbenchError, UsageError, nearest
from latentbench.files import (
    SUMS,
    DamagedFileError,
    damage,
    discard,
    disk_full_explained,
    is_sealed,
    reading,
    sealed,
    sweep,
    write_sealed,
)
from latentbench.latents.preparation import PREPARATION
from latentbench.latents.writers import ALIVE, at_work, of_writers
from latentbench.locks import Timeout, locked
from latentbench.tensors import load_tensors, save_tensors
from latentbench.workspace import make_ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.corpora import Corpus
    from latentbench.encoders import Encoder
    from latentbench.progress import Progress

__all__ = [
    "LatentStore",
    "ShardEntry",
    "StoreInfo",
    "list_stores",
    "remove_store",
    "store_key",
]

SCHEMA = 1
DESCRIPTION = "store.json"
LOCK = "lock"
READERS = 4
UNREADABLE = "(cannot be read)"
FULL = "float32"
AGAIN = "The same command makes it again."
WRITTEN = b"latentbench.written"  # ns of the clock; shards of before have none and are the first
INDEX = pa.schema(
    [
        ("utterance", pa.string()),
        ("audio", pa.string()),
        ("start", pa.int64()),
        ("segments", pa.list_(pa.int64())),
        ("skipped", pa.string()),
    ]
)


@dataclass(frozen=True)
class ShardEntry:
    """Where the frames of an utterance are, or why there are none.

    Attributes:
        utterance: id in the corpus.
        audio: digest of the audio the frames were made of.
        shard: name of the shard below `shards/`; empty before it is written.
        start: first row within the shard.
        segments: number of rows of each stretch of consecutive frames; their sum follows.
        skipped: why the audio could not be used; empty where it could.
    """

    utterance: str
    audio: str
    shard: str
    start: int
    segments: Sequence[int]
    skipped: str = ""


def store_key(
    encoder: Encoder, encoder_name: str, corpus: Corpus, dtype: str = FULL
) -> dict[str, Any]:
    """All that decides the latents of a corpus, but the audio itself; `encoder` is loaded."""
    return {
        **({} if dtype == FULL else {"dtype": dtype}),
        "schema": SCHEMA,
        "encoder": encoder_name,
        "fingerprint": dict(encoder.fingerprint()),
        "geometry": {
            "sample_rate": encoder.sample_rate,
            "hop": encoder.hop,
            "dim": encoder.dim,
            "channels": encoder.channels,
        },
        "preparation": PREPARATION,
        "corpus": corpus.name,
        "identity": dict(corpus.identity),
    }


class LatentStore:
    """The folder of one key, to read and to add to."""

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.key = dict(key)
        self.path = path
        self.shards = path / "shards"

    @classmethod
    def for_key(cls, cache: Path, key: Mapping[str, Any]) -> LatentStore:
        """The store of a key below the cache folder, whether it is there yet or not."""
        text = json.dumps(key, sort_keys=True)
        slug = re.sub(r"[^a-z0-9.]+", "-", f"{key['encoder']}-{key['corpus']}".lower()).strip("-")
        name = f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return cls(cache / "latents" / name, key)

    @classmethod
    def at(cls, path: Path) -> LatentStore:
        """The store that lies at `path`.

        Raises:
            LatentbenchError: there is none.
            DamagedFileError: its description is not what was written.
        """
        if not path.is_dir():
            raise LatentbenchError(
                f"There is no latent store at '{path}'.",
                "It may have been removed from the cache; the `run` command makes it again.",
            )
        return cls(path, _read_key(path))

    @contextmanager
    def writing(self, progress: Progress) -> Iterator[None]:
        """Hold the store against others who clear it up or write to `shards/` itself.

        Raises:
            LatentbenchError: the folder cannot be written.
        """
        waiting = f"Waiting for another process that writes to {self.path}"
        with ExitStack() as held:
            try:
                make_ours(self.path.parent)
                self.shards.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path / LOCK, progress, waiting))
                self._describe(progress)
            except OSError as error:
                raise LatentbenchError(
                    f"The latent store '{self.path}' cannot be made or written to: "
                    f"{error.strerror or error}.",
                    "Choose another cache folder with --cache.",
                ) from None
            yield

    def entries(self, stretch: str = "") -> dict[tuple[str, str], ShardEntry]:
        """Everything stored, by (utterance id, audio digest).

        Args:
            stretch: only what was written of this one.

        Raises:
            DamagedFileError: an index is not what was written.
        """
        return self._merged(self._names(stretch))

    def sound_entries(self) -> dict[tuple[str, str], ShardEntry]:
        """Everything stored in files that are undamaged."""
        return self._merged([name for name, reason in self._damages().items() if not reason])

    def usable(self, stretch: str = "") -> set[tuple[str, str]]:
        """Id and digest of what is stored; the skips that earlier versions kept do not count."""
        return {key for key, entry in self.entries(stretch).items() if not entry.skipped}

    def holds(self, wanted: set[tuple[str, str]]) -> bool:
        """Whether all that is wanted, by id and digest, is stored, and no file is damaged.

        Shards are only read where all is there.
        """
        description = self.path / DESCRIPTION
        try:
            there = description.exists() and self.usable() >= wanted
        except DamagedFileError:
            return False
        return there and not damage(description) and not any(self._damages().values())

    def drop_damaged(self, progress: Progress) -> None:
        """Remove damaged shards, so that they are encoded again, and what killed writers left.

        What is being written is left alone.
        """
        ours = [self.shards, *(one for one in of_writers(self.shards) if not at_work(one))]
        names = [name for name in self._names() if self._index(name).parent in ours]
        total = sum(_size(self._shard(name)) for name in names)
        with progress.task("checking stored latents", total, "B") as meter:
            for name, reason in self._damages(names).items():
                if reason:
                    self._drop(name, reason, progress)
                else:
                    meter.advance(_size(self._shard(name)))
        _clear_up(self.shards)
        self.clear_up()

    def clear_up(self, stretch: str = "") -> None:
        """Remove what killed writers of a stretch, or of any, left half-written."""
        for folder in of_writers(self.shards, stretch):
            # Asked in this order: a writer whose folder was just made has not said yet that it is
            # at work.
            if any((folder / name).exists() for name in (ALIVE, SUMS)) and not at_work(folder):
                _clear_up(folder)
                if not any(folder.glob("*.parquet")):
                    shutil.rmtree(folder, ignore_errors=True)

    def add(
        self,
        latents: torch.Tensor,
        energy: torch.Tensor,
        entries: Sequence[ShardEntry],
        folder: Path | None = None,
    ) -> None:
        """Write one shard and then its index; `entries` name rows of `latents` [rows, D].

        Args:
            latents: of all utterances of the shard.
            energy: of the same rows.
            entries: of the utterances.
            folder: of this writer alone; `shards/` itself for one who holds the store.

        Raises:
            LatentbenchError: it cannot be written (disk full, ...), or a number is too large to
                be kept; nothing half-written stays.
        """
        folder = folder or self.shards
        latents = self._as_kept(latents)
        number = max((int(one.stem) for one in folder.glob("*.parquet")), default=-1) + 1
        shard = folder / f"{number:06d}.safetensors"
        columns = {name: [getattr(entry, name) for entry in entries] for name in INDEX.names}
        table = pa.table(columns, schema=INDEX)
        try:
            with disk_full_explained(self.path, latents.nbytes + energy.nbytes):
                save_tensors(shard, {"latents": latents, "energy": energy})
                with sealed(shard.with_suffix(".parquet")) as partial:
                    written = {WRITTEN: str(time.time_ns())}
                    pq.write_table(table.replace_schema_metadata(written), partial)
        except OSError as error:
            raise LatentbenchError(
                f"Latents could not be written to '{self.path}': {error.strerror or error}.",
                "Choose another folder with --cache, or mend what is wrong with this one; the "
                "same command then continues.",
            ) from error

    @property
    def dtype(self) -> torch.dtype:
        """What latents are kept as."""
        kept: torch.dtype = getattr(torch, self.key.get("dtype", FULL))
        return kept

    def open_shards(self, names: Sequence[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The latents [rows, D] (a memory map) and energy [rows] of shards, checked side by side.

        Raises:
            DamagedFileError: one is not what was written.
        """
        with ThreadPoolExecutor(READERS) as pool:
            shards = pool.map(lambda one: load_tensors(self._shard(one), AGAIN), names)
            return [(tensors["latents"], tensors["energy"].clone()) for tensors in shards]

    def _describe(self, progress: Progress) -> None:
        """Write `store.json` where it is not what this key says."""
        description = self.path / DESCRIPTION
        text = json.dumps(self.key, indent=2)
        if description.exists() and (reason := damage(description)):
            progress.say(f"'{description}' is damaged: {reason}. It is written again.")
        elif description.exists() and description.read_text("utf-8", "replace") == text:
            return
        write_sealed(description, text)

    def _as_kept(self, latents: torch.Tensor) -> torch.Tensor:
        largest = latents.abs().amax() if latents.numel() else 0.0
        most = torch.finfo(self.dtype).max
        if largest > most:
            raise LatentbenchError(
                f"A latent of {largest:.6g} cannot be kept as float16, which ends at {most:g}.",
                "Keep latents whole: --set latents.dtype=float32.",
            )
        return latents.to(self.dtype)

    def _merged(self, names: Sequence[str]) -> dict[tuple[str, str], ShardEntry]:
        """The entries of shards; of two for the same utterance that which was written first."""
        found: dict[tuple[str, str], ShardEntry] = {}
        for _, _, entries in sorted(self._entries(name) for name in names):
            for entry in entries:
                before = found.get((entry.utterance, entry.audio))
                if before is None or before.skipped:
                    found[entry.utterance, entry.audio] = entry
        return found

    def _entries(self, name: str) -> tuple[int, str, list[ShardEntry]]:
        """When a shard was written, its name and its entries."""
        index = self._index(name)
        with reading(index, AGAIN):
            table = pq.read_table(index)
            written = int((table.schema.metadata or {}).get(WRITTEN, b"0"))
            return written, name, [ShardEntry(shard=name, **row) for row in table.to_pylist()]

    def _shard(self, name: str) -> Path:
        return self.shards / f"{name}.safetensors"

    def _index(self, name: str) -> Path:
        return self.shards / f"{name}.parquet"

    def _names(self, stretch: str = "") -> list[str]:
        """Of all shards, or of those of a stretch: their paths below `shards/` without suffix."""
        folders = ([] if stretch else [self.shards]) + of_writers(self.shards, stretch)
        indexes = [index for folder in folders for index in sorted(folder.glob("*.parquet"))]
        return [one.relative_to(self.shards).with_suffix("").as_posix() for one in indexes]

    def _drop(self, name: str, reason: str, progress: Progress) -> None:
        progress.say(
            f"Shard {self._shard(name)} is damaged ({reason}): its {_rows(self._index(name))} "
            "utterances are encoded again."
        )
        discard(self._index(name))
        discard(self._shard(name))

    def _damages(self, names: Sequence[str] | None = None) -> dict[str, str]:
        """Shard -> what is wrong with it, empty where nothing is."""
        names = self._names() if names is None else names
        with ThreadPoolExecutor(READERS) as pool:
            return dict(zip(names, pool.map(self._damage, names), strict=True))

    def _damage(self, name: str) -> str:
        try:
            self._entries(name)
        except DamagedFileError as error:
            return f"its index: {error.reason}"
        return damage(self._shard(name))


def _clear_up(folder: Path) -> None:
    """Remove what a killed writer left: shards whose index was never written, and less."""
    sweep(folder)
    for shard in [*folder.glob("*.safetensors")]:
        if not shard.with_suffix(".parquet").exists():
            discard(shard)
    discard(folder / ALIVE)


@dataclass(frozen=True)
class StoreInfo:
    """What `latentbench cache list` says of a store."""

    key: str
    path: Path
    encoder: str
    corpus: str
    utterances: int
    bytes: int


def list_stores(cache: Path) -> list[StoreInfo]:
    """Every latent store below the cache folder, by key; one that cannot be read says so."""
    folders = [shards.parent for shards in sorted((cache / "latents").glob("*/shards"))]
    return [
        _info(path)
        for path in folders
        if (path / DESCRIPTION).exists() or is_sealed(path / DESCRIPTION)
    ]


def remove_store(cache: Path, key: str) -> None:
    """Delete one store.

    Raises:
        UsageError: there is none of that key (names the nearest), or it is being written.
    """
    keys = [info.key for info in list_stores(cache)]
    if key not in keys:
        raise UsageError(f"There is no latent store '{key}' in {cache}.", nearest(key, keys))
    path = cache / "latents" / key
    in_use = UsageError(
        f"The latent store '{key}' is being written by another process.",
        "Wait for it to end, then try again.",
    )
    if any(map(at_work, of_writers(path / "shards"))):
        raise in_use
    try:
        with locked(path / LOCK):
            shutil.rmtree(path / "shards", ignore_errors=True)
    except Timeout:
        raise in_use from None
    shutil.rmtree(path)


def _read_key(path: Path) -> dict[str, Any]:
    """What the key of the store in this folder was made of."""
    with reading(path / DESCRIPTION, AGAIN):
        key: dict[str, Any] = json.loads((path / DESCRIPTION).read_text("utf-8"))
        return {**key, "encoder": str(key["encoder"]), "corpus": str(key["corpus"])}


def _info(path: Path) -> StoreInfo:
    try:
        key = _read_key(path)
    except DamagedFileError:
        key = {"encoder": UNREADABLE, "corpus": UNREADABLE}
    return StoreInfo(
        key=path.name,
        path=path,
        encoder=key["encoder"],
        corpus=key["corpus"],
        utterances=sum(_rows(index) for index in path.glob("shards/**/*.parquet")),
        bytes=sum(_size(file) for file in path.rglob("*") if file.is_file()),
    )


def _rows(index: Path) -> int:
    try:
        return int(pq.read_metadata(index).num_rows)
    except (OSError, pa.ArrowException):
        return 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
