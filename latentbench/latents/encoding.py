"""Filling of a latent store: decode ahead, encode in batches of like length, write behind.

Batches are planned over the whole list of utterances, not over what is missing, so a run
that was killed and continued encodes the very batches an undisturbed one would have.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from latentbench.corpora import AudioError
from latentbench.corpora.corpus import PassingTroubleError, of_the_machine
from latentbench.errors import LatentbenchError
from latentbench.latents.preparation import PreparedAudio, prepare
from latentbench.latents.store import ShardEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

    from latentbench.corpora import Utterance
    from latentbench.encoders import Encoder
    from latentbench.latents.store import LatentStore
    from latentbench.progress import Progress

__all__ = ["Encoded", "encode_batch", "encode_missing", "plan_batches"]

BATCHES_AHEAD = 4
SECONDS_AHEAD = 1200.0  # of audio that waits, decoded, beside what is encoded
READERS = 2
SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 20.0


@dataclass(frozen=True)
class Encoded:
    """What became of the wanted utterances.

    Attributes:
        digests: id -> digest of the audio that was decoded, now or earlier.
        skipped: id -> why it cannot be used; all others are in the store.
        fresh: how many were encoded now.
    """

    digests: Mapping[str, str]
    skipped: Mapping[str, str]
    fresh: int


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

    What cannot be used is not stored: the next run tries it again. What the machine could not
    read ends the run once all else is stored, so that no run is made of what happened to be read.

    Args:
        store: where latents go; held against other writers meanwhile.
        encoder: loaded on `device`.
        utterances: all that are wanted.
        digests: of their audio, by utterance id.
        device: of the encoder.
        progress: told the seconds of audio done.

    Raises:
        LatentbenchError: the store cannot be written, or the encoder broke its contract.
        PassingTroubleError: the machine could not read an utterance.
    """
    wanted = {(one.id, digests[one.id]) for one in utterances}
    if store.is_sound() and _usable(store) >= wanted:  # the cache may be another user's
        return Encoded(digests, {}, 0)
    with store.writing(progress):
        store.drop_damaged(progress)
        stored = _usable(store)
        batches = [
            missing
            for batch in plan_batches(utterances, encoder.max_batch_seconds)
            if (missing := [one for one in batch if (one.id, digests[one.id]) not in stored])
        ]
        total = sum(one.seconds for one in utterances)
        heard = _encode(store, encoder, batches, total=total, device=device, progress=progress)
    if troubles := [one.trouble for one in heard.values() if one.trouble is not None]:
        raise troubles[0]
    decoded = {id_: one.digest for id_, one in heard.items() if one.digest}
    skipped = {id_: one.skipped for id_, one in heard.items() if one.skipped}
    return Encoded({**digests, **decoded}, skipped, len(heard) - len(skipped))


def _encode(
    store: LatentStore,
    encoder: Encoder,
    batches: Sequence[Sequence[Utterance]],
    *,
    total: float,
    device: torch.device,
    progress: Progress,
) -> dict[str, _Heard]:
    """Encode the batches into shards, and tell what became of each utterance by its id."""
    heard: dict[str, _Heard] = {}
    missing = sum(one.seconds for batch in batches for one in batch)
    with (
        progress.task("encoding", total, "s", total - missing) as meter,
        _ShardWriter(store) as writer,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for batch in _read_ahead(pool, batches, encoder):
            audio = {one.id: one.audio for one in batch if one.audio is not None}
            latents = encode_batch(encoder, store.key["encoder"], audio, device)
            for one in batch:
                rows = latents.get(one.id, one.skipped)
                heard[one.id] = replace(
                    one, audio=None, skipped=rows if isinstance(rows, str) else ""
                )
                if isinstance(rows, torch.Tensor) and one.audio is not None:
                    writer.add(one.id, one.digest, one.audio, rows)
            writer.flush_if_large()
            meter.advance(sum(one.seconds for one in batch))
    return heard


def _usable(store: LatentStore) -> set[tuple[str, str]]:
    """Id and digest of what is stored; the skips that earlier versions kept do not count."""
    return {key for key, entry in store.entries().items() if not entry.skipped}


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


def encode_batch(
    encoder: Encoder,
    name: str,
    audio: Mapping[str, PreparedAudio],
    device: torch.device,
) -> dict[str, torch.Tensor | str]:
    """The latents of each utterance of a batch, [frames, D] on the CPU, or why there are none.

    An encoder that refuses or fails on a batch is asked for each utterance alone. Those it
    refuses then (`AudioError`), or gives no finite latents, have a reason in place of latents.

    Args:
        encoder: loaded on `device`.
        name: what the user calls it.
        audio: utterance id -> prepared audio.
        device: of the encoder.

    Raises:
        LatentbenchError: the encoder failed on an utterance, which it names, or returned
            something else than its contract says.
    """
    if not audio:
        return {}
    prepared = list(audio.values())
    longest = max(one.samples.shape[-1] for one in prepared)
    padded = torch.stack(
        [F.pad(one.samples, (0, longest - one.samples.shape[-1])) for one in prepared]
    )
    if encoder.channels == 1:
        padded = padded[:, 0]
    lengths = torch.tensor([one.length for one in prepared])
    first, others = next(iter(audio)), len(audio) - 1
    given = (
        f"the utterance '{first}'{f' and {others} more' if others else ''}, {_type(padded)} at "
        f"{encoder.sample_rate} Hz, lengths {lengths.tolist()}"
    )
    kind = type(encoder)
    whose = f"The encoder '{name}' ({kind.__module__}.{kind.__qualname__})"
    advice = (
        f"'latentbench plugins check {name}' looks for more of this; tell the plugin's authors."
    )
    try:
        with torch.inference_mode():
            returned: Any = encoder.encode(padded.to(device), lengths.to(device))
    except LatentbenchError:
        raise
    except Exception as error:
        if others:
            each = [encode_batch(encoder, name, {id_: one}, device) for id_, one in audio.items()]
            return {id_: found for one in each for id_, found in one.items()}
        if isinstance(error, AudioError):
            return dict.fromkeys(audio, str(error))
        raise LatentbenchError(
            f"{whose} failed on {given}: {type(error).__name__}: {error}", advice
        ) from error
    counts = [sum(one.segments) for one in prepared]
    latents, came = _fitting(returned, counts, encoder.dim)
    if came:
        raise LatentbenchError(
            f"{whose} was given {given} and returned {came}; expected float32 "
            f"[{len(audio)}, at least {max(counts)}, {encoder.dim}] and frames {counts}.",
            advice,
        )
    return {
        id_: _why_not_finite(name, rows) or rows for id_, rows in zip(audio, latents, strict=True)
    }


@dataclass(frozen=True)
class _Heard:
    """One utterance as it was decoded.

    Attributes:
        audio: None where it has none, and once it is encoded.
        skipped: why it cannot be used; empty where it can.
        trouble: what the machine could not do.
    """

    id: str
    seconds: float
    digest: str = ""
    audio: PreparedAudio | None = None
    skipped: str = ""
    trouble: PassingTroubleError | None = None


def _read_ahead(
    pool: ThreadPoolExecutor, batches: Sequence[Sequence[Utterance]], encoder: Encoder
) -> Iterator[list[_Heard]]:
    """Each batch decoded, a few of them ahead of time."""
    waiting: deque[list[Future[_Heard]]] = deque()
    seconds: deque[float] = deque()
    for batch in batches:
        waiting.append([pool.submit(_read, one, encoder) for one in batch])
        seconds.append(sum(one.seconds for one in batch))
        while len(waiting) > BATCHES_AHEAD or (len(waiting) > 1 and sum(seconds) > SECONDS_AHEAD):
            seconds.popleft()
            yield [future.result() for future in waiting.popleft()]
    while waiting:
        yield [future.result() for future in waiting.popleft()]


def _read(utterance: Utterance, encoder: Encoder) -> _Heard:
    heard = _Heard(utterance.id, utterance.seconds)
    try:
        with of_the_machine(utterance.id):
            samples, sample_rate, digest = utterance.source.record(utterance.sample_rate)
            heard = replace(heard, digest=digest)
            return replace(heard, audio=prepare(samples, sample_rate, encoder))
    except AudioError as error:
        return replace(heard, skipped=str(error))
    except PassingTroubleError as error:
        return replace(heard, skipped=error.message, trouble=error)
    except Exception as error:  # noqa: BLE001 - whatever one file does, the others are used
        reason = f"cannot be decoded: {type(error).__name__}: {error}"
        return replace(heard, skipped=reason)


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

    def add(self, utterance: str, digest: str, audio: PreparedAudio, rows: torch.Tensor) -> None:
        """Take the frames of one utterance."""
        self._entries.append(ShardEntry(utterance, digest, -1, self._rows, audio.segments))
        self._latents.append(rows)
        self._energy.append(audio.energy[: len(rows)])
        self._rows += len(rows)

    def flush_if_large(self) -> None:
        """Write a shard if there is enough for one; asked between whole batches."""
        size = sum(rows.nbytes for rows in self._latents)
        if size >= SHARD_BYTES or time.monotonic() - self._since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None
        if self._entries:
            latents, energy = torch.cat(self._latents), torch.cat(self._energy)
            self._pending = self._pool.submit(self._store.add, latents, energy, self._entries)
        self._begin()

    def _begin(self) -> None:
        self._entries: list[ShardEntry] = []
        self._latents: list[torch.Tensor] = []
        self._energy: list[torch.Tensor] = []
        self._rows = 0
        self._since = time.monotonic()


def _why_not_finite(name: str, rows: torch.Tensor) -> str:
    """What is wrong with frames that are not finite; empty where all are."""
    wrong = int((~rows.isfinite().all(-1)).sum())
    return f"the encoder '{name}' gave {wrong} of {len(rows)} frames not finite" if wrong else ""


def _fitting(returned: Any, counts: Sequence[int], dim: int) -> tuple[list[torch.Tensor], str]:
    """Take the frames of each utterance, or say what an encoder returned against its contract.

    What does not fit would be stored as the frames of another utterance.
    """
    match returned:
        case (torch.Tensor() as latents, torch.Tensor() as frames):
            fits = (
                latents.dtype == torch.float32
                and latents.ndim == 3  # noqa: PLR2004 - B, F, D
                and latents.shape[0] == len(counts)
                and latents.shape[1] >= max(counts)
                and latents.shape[2] == dim
                and frames.tolist() == counts
            )
            if not fits:
                return [], f"{_type(latents)} and frames {frames.tolist()}"
            return [rows[:count] for rows, count in zip(latents.cpu(), counts, strict=True)], ""
        case _:
            return [], type(returned).__name__


def _type(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
