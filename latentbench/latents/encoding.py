"""Fills a latent store: decode ahead, encode in batches of like length, write behind.

Batches are planned over the whole list of utterances, not over what is missing, so a run
that was killed and continued encodes the very batches an undisturbed one would have.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.corpora import AudioError
from latentbench.latents.batches import encode_batch
from latentbench.latents.preparation import PreparedAudio, prepare
from latentbench.latents.store import ShardEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

    from latentbench.corpora import Utterance
    from latentbench.encoders import Encoder
    from latentbench.latents.store import LatentStore
    from latentbench.progress import Progress

__all__ = ["Encoded", "audio_digests", "encode_missing", "plan_batches"]

BATCHES_AHEAD = 4
READERS = 2
SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 20.0


@dataclass(frozen=True)
class Encoded:
    """What the store holds for the wanted utterances, in their order.

    Attributes:
        entries: one per utterance.
        fresh: how many of them were encoded now.
    """

    entries: tuple[ShardEntry, ...]
    fresh: int


def audio_digests(utterances: Sequence[Utterance], progress: Progress) -> dict[str, str]:
    """The digest of every utterance's audio by id; empty where the file cannot be read."""
    digests = {}
    with (
        progress.task("checking audio", len(utterances), "utterances") as meter,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for one, digest in zip(utterances, pool.map(_digest, utterances), strict=True):
            digests[one.id] = digest
            meter.advance()
    return digests


def encode_missing(
    store: LatentStore,
    encoder: Encoder,
    utterances: Sequence[Utterance],
    *,
    digests: Mapping[str, str],
    device: torch.device,
    progress: Progress,
) -> Encoded:
    """Encode every utterance the store lacks, continuing where an earlier run was ended.

    Args:
        store: where latents go; held against other writers meanwhile.
        encoder: loaded on `device`.
        utterances: all that are wanted.
        digests: of their audio, by utterance id.
        device: of the encoder.
        progress: told the seconds of audio done.

    Raises:
        LatentbenchError: the store cannot be written, or the encoder broke its contract.
    """
    with store.writing(progress):
        store.drop_damaged(progress)
        stored = store.entries()
        batches = [
            missing
            for batch in plan_batches(utterances, encoder.max_batch_seconds)
            if (missing := [one for one in batch if (one.id, digests[one.id]) not in stored])
        ]
        fresh = [one for batch in batches for one in batch]
        done = sum(one.seconds for one in utterances) - sum(one.seconds for one in fresh)
        with (
            progress.task("encoding", done + sum(o.seconds for o in fresh), "s", done) as meter,
            _ShardWriter(store) as writer,
            ThreadPoolExecutor(READERS) as pool,
        ):
            for batch, audio in _read_ahead(pool, batches, encoder):
                latents = encode_batch(encoder, store.key["encoder"], audio, device)
                writer.add(batch, audio, latents, digests)
                meter.advance(sum(one.seconds for one in batch))
        stored = store.entries()
    return Encoded(tuple(stored[one.id, digests[one.id]] for one in utterances), len(fresh))


def plan_batches(utterances: Sequence[Utterance], max_seconds: float) -> list[list[Utterance]]:
    """Group utterances of like length, longest first; a batch holds `max_seconds` padded.

    Longest first: what does not fit into memory fails at the start, not after hours.
    """
    batches: list[list[Utterance]] = []
    for one in sorted(utterances, key=lambda one: (-one.seconds, one.id)):
        batch = batches[-1] if batches else []
        if batch and (len(batch) + 1) * batch[0].seconds <= max_seconds:
            batch.append(one)
        else:
            batches.append([one])
    return batches


def _digest(utterance: Utterance) -> str:
    try:
        return utterance.source.digest()
    except (AudioError, OSError):
        return ""


def _read_ahead(
    pool: ThreadPoolExecutor, batches: Sequence[Sequence[Utterance]], encoder: Encoder
) -> Iterator[tuple[Sequence[Utterance], list[PreparedAudio | str]]]:
    """Each batch with its audio, or the reason an utterance is skipped, decoded ahead."""
    waiting: deque[tuple[Sequence[Utterance], list[Future[PreparedAudio | str]]]] = deque()
    for batch in batches:
        waiting.append((batch, [pool.submit(_read, one, encoder) for one in batch]))
        if len(waiting) > BATCHES_AHEAD:
            ready, audio = waiting.popleft()
            yield ready, [future.result() for future in audio]
    while waiting:
        ready, audio = waiting.popleft()
        yield ready, [future.result() for future in audio]


def _read(utterance: Utterance, encoder: Encoder) -> PreparedAudio | str:
    try:
        return prepare(utterance.source.read(), utterance.sample_rate, encoder)
    except AudioError as error:
        return str(error)


class _ShardWriter:
    """Collects latents and writes a shard in the background when there is enough of them."""

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Write what is left; after an error only what was already on its way."""
        try:
            if kind is None:
                self.flush()
            if self._pending is not None:
                self._pending.result()
        finally:
            self._pool.shutdown()

    def add(
        self,
        batch: Sequence[Utterance],
        audio: Sequence[PreparedAudio | str],
        latents: Sequence[torch.Tensor | str],
        digests: Mapping[str, str],
    ) -> None:
        """Take one whole batch, and write a shard if there is enough for one."""
        for utterance, one, rows in zip(batch, audio, latents, strict=True):
            name, digest = utterance.id, digests[utterance.id]
            if isinstance(one, PreparedAudio) and isinstance(rows, torch.Tensor):
                self._entries.append(ShardEntry(name, digest, -1, self._rows, one.segments))
                self._latents.append(rows)
                self._energy.append(one.energy[: len(rows)])
                self._rows += len(rows)
            else:
                self._entries.append(ShardEntry(name, digest, -1, self._rows, (), str(rows)))
        size = sum(rows.nbytes for rows in self._latents)
        if size >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None
        if self._entries:
            latents = torch.cat(self._latents) if self._latents else torch.zeros(0, 1)
            energy = torch.cat(self._energy) if self._energy else torch.zeros(0)
            self._pending = self._pool.submit(self._store.add, latents, energy, self._entries)
        self._begin()

    def _begin(self) -> None:
        self._entries: list[ShardEntry] = []
        self._latents: list[torch.Tensor] = []
        self._energy: list[torch.Tensor] = []
        self._rows = 0
        self._since = time.monotonic()
