"""The manifest of a run: its utterances, their side of the split, and where their latents are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.errors import LatentbenchError
from latentbench.files import DamagedFileError, reading, sealed
from latentbench.latents.latents import Latents, StoredUtterance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.latents.store import LatentStore

__all__ = [
    "ManifestRow",
    "corpus_digest",
    "open_latents",
    "read_manifest",
    "require_disjoint_speakers",
    "same_sound",
    "used_audio",
    "write_manifest",
]

STORE = b"latentbench.store"
SIDES = ("train", "validation", "eval")
# Of the energies in the first frames: an utterance of fewer different ones says too little.
VARIED, HEAD = 4, 64
RUN_AGAIN = "Give the same 'latentbench run' command again: it is made again."
SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),
        ("speaker", pa.string()),
        ("split", pa.string()),
        ("audio", pa.string()),
        ("seconds", pa.float64()),
        ("skipped", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
    ]
)


@dataclass(frozen=True)
class ManifestRow:
    """One utterance of a run.

    Attributes:
        utterance: id in the corpus.
        speaker: id in the corpus.
        split: the side its speaker is on; empty where nothing of the speaker can be used.
        audio: digest of its audio; empty where that was not looked at.
        seconds: of audio.
        skipped: why its audio could not be used; empty where it could.
        attributes: what the corpus says of it, as pairs, e.g. `("sex", "F")`.
    """

    utterance: str
    speaker: str
    split: Literal["train", "validation", "eval", ""]
    audio: str
    seconds: float
    skipped: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


def write_manifest(file: Path, store: str, rows: Sequence[ManifestRow]) -> None:
    """Write the rows as Parquet, atomically, with the name of the store they are in."""
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    table = pa.table(columns, schema=SCHEMA)
    with sealed(file) as partial:
        pq.write_table(table.replace_schema_metadata({STORE: store}), partial)


def read_manifest(file: Path) -> tuple[str, list[ManifestRow]]:
    """The name of the store, and the rows in the order of streaming.

    Raises:
        DamagedFileError: the file is gone or is not what was written.
    """
    with reading(file, RUN_AGAIN):
        table = pq.read_table(file)
        store = table.schema.metadata[STORE].decode()
        return store, [
            ManifestRow(**row | {"attributes": tuple(row.get("attributes", ()))})
            for row in table.to_pylist()
        ]


def used_audio(rows: Sequence[ManifestRow]) -> set[tuple[str, str, str]]:
    """Utterance, speaker and digest of what was used."""
    return {(row.utterance, row.speaker, row.audio) for row in rows if not row.skipped}


def corpus_digest(rows: Sequence[ManifestRow]) -> str:
    """A hex digest of which audio was used on which side."""
    text = "\n".join(f"{row.utterance} {row.split} {row.audio}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def open_latents(
    store: LatentStore, rows: Sequence[ManifestRow]
) -> tuple[Latents, dict[str, list[int]]]:
    """The latents of the usable rows, and the utterances of each side as indices into them.

    Raises:
        DamagedFileError: a file of the store is not what was written, or it no longer holds an
            utterance of the manifest.
    """
    entries = store.entries()
    usable = [row for row in rows if not row.skipped]
    absent = [row.utterance for row in usable if (row.utterance, row.audio) not in entries]
    if absent:
        raise DamagedFileError(
            store.path,
            f"it lacks {len(absent)} of {len(usable)} utterances (first: {absent[0]})",
            "Run the same command again: it encodes what is missing.",
        )
    found = [entries[row.utterance, row.audio] for row in usable]
    first_row: dict[str, int] = {}
    shards, energies, total = [], [], 0
    names = sorted({entry.shard for entry in found})
    for name, (latents, energy) in zip(names, store.open_shards(names), strict=True):
        first_row[name] = total
        total += len(latents)
        shards.append(latents)
        energies.append(energy.numpy())
    utterances: list[StoredUtterance] = []
    sides: dict[str, list[int]] = {"train": [], "eval": []}
    for row, entry in zip(usable, found, strict=True):
        start = first_row[entry.shard] + entry.start
        attributes = dict(row.attributes)
        for segment, frames in enumerate(entry.segments):
            sides.setdefault(row.split, []).append(len(utterances))
            utterances.append(
                StoredUtterance(row.utterance, row.speaker, start, frames, segment, attributes)
            )
            start += frames
    geometry = store.key["geometry"]
    energy_rows = np.concatenate(energies) if energies else np.zeros(0, np.float32)
    frame_rate = geometry["sample_rate"] / geometry["hop"]
    return Latents(shards, energy_rows, utterances, frame_rate), sides


def require_disjoint_speakers(rows: Sequence[ManifestRow]) -> None:
    """Refuse a manifest with a speaker on two sides.

    Raises:
        LatentbenchError: names the speakers.
    """
    sides = {side: {row.speaker for row in rows if row.split == side} for side in SIDES}
    for one, other in combinations(SIDES, 2):
        if both := sorted(sides[one] & sides[other]):
            raise LatentbenchError(
                f"{len(both)} speaker(s) are in {one} and in {other}: {', '.join(both[:5])}.",
                "What is scored or chosen would be of known voices. The split of latentbench never "
                "does this: remove the run folder, and look at what wrote its manifest.",
            )


def same_sound(latents: Latents) -> dict[str, str]:
    """Find utterances that sound like another before them: id -> id of that one.

    The same samples in another format, or with other tags, are other bytes, but the RMS of every
    frame is the same float32. Utterances of few different values say too little.
    """
    heard: dict[str, list[NDArray[np.float32]]] = {}
    for one in latents.utterances:
        heard.setdefault(one.id, []).append(latents.energy[one.start : one.start + one.frames])
    first: dict[bytes, str] = {}
    found = {}
    for name, parts in heard.items():
        energy = np.concatenate(parts)
        if len(np.unique(energy[:HEAD])) < VARIED:
            continue
        if (other := first.setdefault(energy.tobytes(), name)) != name:
            found[name] = other
    return found
