"""The latent store: one folder per (encoder fingerprint, corpus), safe to kill at any moment.

    <cache>/latents/<slug>-<digest>/
        store.json               what the key was made of
        shards/000000.safetensors    latents [rows, D] and energy [rows], whole batches
        shards/000000.parquet        which utterance is where; holds the shard's checksum

A shard counts once its Parquet index is there, and that is renamed into place after the
shard itself. An utterance is found by its id *and* the digest of its audio, so changed audio
is encoded again, while a limited run, a grown corpus and a full run share what they have in
common. Everything else that changes the numbers is in the key.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from latentbench.errors import LatentbenchError, UsageError, nearest
from latentbench.files import PARTIAL, atomic, write_text
from latentbench.latents.preparation import PREPARATION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

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
CHECKSUM = b"latentbench.shard_sha256"
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
        shard: number of the shard.
        start: first row within the shard.
        segments: number of rows of each stretch of consecutive frames; their sum follows.
        skipped: why the audio could not be used; empty where it could.
    """

    utterance: str
    audio: str
    shard: int
    start: int
    segments: Sequence[int]
    skipped: str = ""


def store_key(encoder: Encoder, encoder_name: str, corpus: Corpus) -> dict[str, Any]:
    """All that decides the latents of a corpus, but the audio itself; `encoder` is loaded."""
    return {
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
        """
        description = path / "store.json"
        if not description.is_file():
            raise LatentbenchError(
                f"There is no latent store at '{path}'.",
                "It may have been removed from the cache; the `run` command makes it again.",
            )
        return cls(path, json.loads(description.read_text("utf-8")))

    @contextmanager
    def writing(self, progress: Progress) -> Iterator[None]:
        """Hold the store against a second writer, waiting for one that is at work.

        Raises:
            LatentbenchError: the folder cannot be made.
        """
        try:
            self.shards.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LatentbenchError(
                f"The latent store '{self.path}' cannot be made: {error.strerror}.",
                "Choose another cache folder with --cache.",
            ) from None
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.say(f"Waiting for another process that writes to {self.path}")
            lock.acquire()
        with lock:
            write_text(self.path / "store.json", json.dumps(self.key, indent=2))
            yield

    def entries(self) -> dict[tuple[str, str], ShardEntry]:
        """Everything stored, by (utterance id, audio digest)."""
        found: dict[tuple[str, str], ShardEntry] = {}
        for number in self._numbers():
            table = pq.read_table(self._index(number))
            for row in table.to_pylist():
                entry = ShardEntry(shard=number, **row)
                found[entry.utterance, entry.audio] = entry
        return found

    def drop_damaged(self, progress: Progress) -> None:
        """Remove shards that are not what was written, so that they are encoded again."""
        numbers = self._numbers()
        total = sum(_size(self._shard(number)) for number in numbers)
        with progress.task("checking stored latents", total, "B") as meter:
            for number in numbers:
                reason = self._damage(number)
                if reason:
                    count = _rows(self._index(number))
                    progress.say(
                        f"Shard {self._shard(number)} is damaged ({reason}): its {count} "
                        "utterances are encoded again."
                    )
                    self._index(number).unlink()
                    self._shard(number).unlink(missing_ok=True)
                else:
                    meter.advance(_size(self._shard(number)))
        for leftover in [*self.shards.glob(f"*{PARTIAL}"), *self._orphans()]:
            leftover.unlink()

    def add(
        self, latents: torch.Tensor, energy: torch.Tensor, entries: Sequence[ShardEntry]
    ) -> None:
        """Write one shard and then its index; `entries` name rows of `latents` [rows, D].

        Raises:
            LatentbenchError: it cannot be written (disk full, ...); nothing half-written stays.
        """
        number = max(self._numbers(), default=-1) + 1
        shard, index = self._shard(number), self._index(number)
        try:
            with atomic(shard) as partial:
                save_file({"latents": latents, "energy": energy}, partial)
                checksum = _sha256(partial)
            columns = {name: [getattr(entry, name) for entry in entries] for name in INDEX.names}
            table = pa.table(columns, schema=INDEX.with_metadata({CHECKSUM: checksum.encode()}))
            with atomic(index) as partial:
                pq.write_table(table, partial)
        except (OSError, SafetensorError) as error:
            raise LatentbenchError(
                f"Latents could not be written to '{self.path}': {error}.",
                f"{latents.nbytes / 2**20:.0f} MiB were to be written. Free some space "
                "(`latentbench cache list`) or choose another folder with --cache; the "
                "same command then continues.",
            ) from error

    def open_shard(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The latents [rows, D] (a memory map) and energy [rows] of one shard."""
        with safe_open(self._shard(number), framework="pt") as file:
            return file.get_tensor("latents"), file.get_tensor("energy").clone()

    def _shard(self, number: int) -> Path:
        return self.shards / f"{number:06d}.safetensors"

    def _index(self, number: int) -> Path:
        return self.shards / f"{number:06d}.parquet"

    def _numbers(self) -> list[int]:
        return sorted(int(index.stem) for index in self.shards.glob("*.parquet"))

    def _orphans(self) -> list[Path]:
        """Shards whose index was never written: the process was killed between the two."""
        return [
            shard
            for shard in self.shards.glob("*.safetensors")
            if not shard.with_suffix(".parquet").exists()
        ]

    def _damage(self, number: int) -> str:
        shard = self._shard(number)
        if not shard.exists():
            return "the file is gone"
        try:
            metadata = pq.read_schema(self._index(number)).metadata or {}
        except (OSError, pa.ArrowException):
            return "its index cannot be read"
        if metadata.get(CHECKSUM, b"").decode() != _sha256(shard):
            return f"checksum of {_size(shard):,} bytes differs"
        return ""


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
    """Every latent store below the cache folder, by key."""
    found = []
    for description in sorted((cache / "latents").glob("*/store.json")):
        path = description.parent
        key = json.loads(description.read_text("utf-8"))
        found.append(
            StoreInfo(
                key=path.name,
                path=path,
                encoder=key["encoder"],
                corpus=key["corpus"],
                utterances=sum(_rows(index) for index in path.glob("shards/*.parquet")),
                bytes=sum(_size(file) for file in path.rglob("*") if file.is_file()),
            )
        )
    return found


def remove_store(cache: Path, key: str) -> None:
    """Delete one store.

    Raises:
        UsageError: there is none of that key (names the nearest), or it is being written.
    """
    keys = [info.key for info in list_stores(cache)]
    if key not in keys:
        raise UsageError(f"There is no latent store '{key}' in {cache}.", nearest(key, keys))
    path = cache / "latents" / key
    try:
        with FileLock(path / "lock", timeout=0):
            shutil.rmtree(path / "shards", ignore_errors=True)
    except Timeout:
        raise UsageError(
            f"The latent store '{key}' is being written by another process.",
            "Wait for it to end, then try again.",
        ) from None
    shutil.rmtree(path)


def _rows(index: Path) -> int:
    try:
        return int(pq.read_metadata(index).num_rows)
    except (OSError, pa.ArrowException):
        return 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
