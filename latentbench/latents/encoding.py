"""Encoding of batches into a store: decode ahead, encode those of like length, write behind.

Batches are planned over the whole list of utterances, not over what is missing, so a run
that was killed and continued encodes the very batches an undisturbed one would have.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from latentbench.corpora import AudioError
from latentbench.corpora.corpus import PassingTroubleError, of_the_machine
from latentbench.errors import LatentbenchError
from latentbench.latents.preparation import PreparedAudio, prepare
from latentbench.latents.store import ShardEntry
from latentbench.latents.writers import own_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from latentbench.corpora import Utterance
    from latentbench.encoders import Encoder
    from latentbench.latents.store import LatentStore
    from latentbench.progress import Meter, Progress

__all__ = [
    "ENCODING",
    "Heard",
    "encode_batch",
    "encode_stretch",
    "missing_of",
    "plan_batches",
]

ENCODING = "encoding"

BATCHES_AHEAD = 4
SECONDS_AHEAD = 1200.0  # of audio that waits, decoded, beside what is encoded
READERS = 2
SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 20.0


@dataclass(frozen=True)
class Heard:
    """What became of utterances that were encoded, beside what is in the store.

    Attributes:
        digests: id -> digest of the audio that was decoded.
        skipped: id -> why it cannot be used.
        troubles: what the machine could not do, as message and hint.
    """

    digests: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Heard) -> None:
        """Take what became of others as well."""
        self.digests.update(other.digests)
        self.skipped.update(other.skipped)
        self.troubles.extend((message, hint) for message, hint in other.troubles)


def encode_stretch(
    store: LatentStore,
    encoder: Encoder,
    stretch: str,
    batches: Sequence[Sequence[Utterance]],
    *,
    digests: Mapping[str, str],
    device: torch.device,
    progress: Progress,
) -> Heard:
    """Encode batches into shards of a writer of its own; holds no lock.

    What another writer of the stretch has stored meanwhile, or before it was killed, is not
    encoded again. What cannot be used is not stored.

    Args:
        store: where latents go.
        encoder: loaded on `device`.
        stretch: names what is in the batches, so that two who encode the same see each other.
        batches: of utterances that are wanted.
        digests: of their audio, by utterance id.
        device: of the encoder.
        progress: told the seconds of audio done.

    Raises:
        LatentbenchError: the store cannot be written, or the encoder broke its contract.
    """
    total = sum(one.seconds for batch in batches for one in batch)
    with own_folder(store.shards, stretch, progress) as folder:
        store.clear_up(stretch)
        stored = store.usable(stretch)
        missing = missing_of(batches, digests, stored)
        left = sum(one.seconds for batch in missing for one in batch)
        with progress.task(ENCODING, total, "s", total - left) as meter:
            return _encode(store, folder, encoder, missing, device=device, meter=meter)


def _encode(
    store: LatentStore,
    folder: Path,
    encoder: Encoder,
    batches: Sequence[Sequence[Utterance]],
    *,
    device: torch.device,
    meter: Meter,
) -> Heard:
    """Encode the batches into shards, and tell what became of each utterance by its id."""
    heard = Heard()
    with _ShardWriter(store, folder) as writer, ThreadPoolExecutor(READERS) as pool:
        for batch in _read_ahead(pool, batches, encoder):
            audio = {one.id: one.audio for one in batch if one.audio is not None}
            latents = encode_batch(encoder, store.key["encoder"], audio, device)
            for one in batch:
                rows = latents.get(one.id, one.skipped)
                if one.digest:
                    heard.digests[one.id] = one.digest
                if isinstance(rows, str):
                    heard.skipped[one.id] = rows
                elif one.audio is not None:
                    writer.add(one.id, one.digest, one.audio, rows)
                if one.trouble is not None:
                    heard.troubles.append((one.trouble.message, one.trouble.hint))
            writer.flush_if_large()
            meter.advance(sum(one.seconds for one in batch))
    return heard


def missing_of(
    batches: Iterable[Sequence[Utterance]],
    digests: Mapping[str, str],
    stored: set[tuple[str, str]],
) -> list[list[Utterance]]:
    """The batches without what is stored, and without those that are stored whole."""
    left = ([one for one in batch if (one.id, digests[one.id]) not in stored] for batch in batches)
    return [batch for batch in left if batch]


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
class _Decoded:
    """One utterance as it was decoded.

    Attributes:
        audio: None where it has none.
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
) -> Iterator[list[_Decoded]]:
    """Each batch decoded, a few of them ahead of time."""
    waiting: deque[list[Future[_Decoded]]] = deque()
    seconds: deque[float] = deque()
    for batch in batches:
        waiting.append([pool.submit(_read, one, encoder) for one in batch])
        seconds.append(sum(one.seconds for one in batch))
        while len(waiting) > BATCHES_AHEAD or (len(waiting) > 1 and sum(seconds) > SECONDS_AHEAD):
            seconds.popleft()
            yield [future.result() for future in waiting.popleft()]
    while waiting:
        yield [future.result() for future in waiting.popleft()]


def _read(utterance: Utterance, encoder: Encoder) -> _Decoded:
    decoded = _Decoded(utterance.id, utterance.seconds)
    try:
        with of_the_machine(utterance.id):
            samples, sample_rate, digest = utterance.source.record(utterance.sample_rate)
            decoded = replace(decoded, digest=digest)
            return replace(decoded, audio=prepare(samples, sample_rate, encoder))
    except AudioError as error:
        return replace(decoded, skipped=str(error))
    except PassingTroubleError as error:
        return replace(decoded, skipped=error.message, trouble=error)
    except Exception as error:  # noqa: BLE001 - whatever one file does, the others are used
        reason = f"cannot be decoded: {type(error).__name__}: {error}"
        return replace(decoded, skipped=reason)


class _ShardWriter:
    """Collects latents and writes a shard in the background when there is enough of them."""

    def __init__(self, store: LatentStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
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
        self._entries.append(ShardEntry(utterance, digest, "", self._rows, audio.segments))
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
            self._pending = self._pool.submit(
                self._store.add, latents, energy, self._entries, self._folder
            )
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
