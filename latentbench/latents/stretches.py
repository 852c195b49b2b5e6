"""Filling of a latent store, by one process or by an engine, stretch by stretch.

A stretch is a unit of work: whole batches of utterances, named by what is in them. `EncodeWork`
does one: it loads the encoder where it is, encodes what the stretch lacks into shards of its own,
and leaves in the stretch's folder what became of the rest. Both are picklable, and any engine that
runs cells runs them:

    stretches = plan_stretches(batches, digests, store=..., stored=..., config=..., folder=...)
    for outcome in engine.run(stretches, EncodeWork(registry, cache, progress)):
        ...

It is safe to do a stretch twice, at once or one after the other, and to kill it at any moment: what
is lost is the shard that was being written.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from latentbench.config import make
from latentbench.corpora.corpus import PassingTroubleError
from latentbench.device import choose_device
from latentbench.engines import closed
from latentbench.errors import LatentbenchError
from latentbench.files import reading, write_sealed
from latentbench.latents.encoding import (
    ENCODING,
    Heard,
    encode_stretch,
    missing_of,
    plan_batches,
)
from latentbench.latents.store import LatentStore, store_key
from latentbench.latents.writers import at_work, own_folder
from latentbench.progress import SILENT, Together
from latentbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from latentbench.config import RunConfig
    from latentbench.corpora import Corpus, Utterance
    from latentbench.encoders import Encoder
    from latentbench.engines import Engine
    from latentbench.plugins import Registry
    from latentbench.progress import Progress

__all__ = [
    "Elsewhere",
    "EncodeWork",
    "Encoded",
    "Stretch",
    "encode_missing",
    "key_of",
    "plan_stretches",
]

# Enough stretches to share out evenly, none too short for a shard or too long to be done again.
STRETCHES = 64
SHORTEST, LONGEST = 60.0, 7200.0  # seconds of audio
FOLDER = "stretches"
HEARD = "heard.json"
LEFT = 24 * 3600.0  # seconds after which the folder of a killed run is nobody's
HEX = 16
AGAIN = "The same command encodes what is missing."


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


@dataclass(frozen=True)
class Stretch:
    """Batches of utterances to encode: a unit of work.

    Attributes:
        name: a digest of what is in it, stored or not.
        config: the resolved configuration; names the encoder, the corpus and the device.
        store: the folder of the latents.
        folder: where `heard.json` goes.
        batches: what is missing.
        digests: of the audio of these utterances, by id.
    """

    name: str
    config: RunConfig
    store: Path
    folder: Path
    batches: tuple[tuple[Utterance, ...], ...]
    digests: Mapping[str, str] = field(repr=False)

    @property
    def seconds(self) -> float:
        """Of audio, in the batches."""
        return sum(one.seconds for batch in self.batches for one in batch)


class EncodeWork:
    """What is to do for a stretch, as engines call it.

    Sent to another process it leaves its display behind. It loads the encoder once in each.

    Args:
        registry: where encoder and corpus are.
        cache: the folder of the cache.
        progress: told the seconds of audio done.
    """

    def __init__(self, registry: Registry, cache: Path, progress: Progress = SILENT) -> None:
        self.registry = registry
        self.cache = cache
        self.progress = progress
        self._loaded: tuple[Encoder, torch.device] | None = None

    def __call__(self, stretch: Stretch) -> None:
        """Encode what a stretch lacks, and write what became of its utterances.

        Raises:
            LatentbenchError: the encoder is another one here or broke its contract, or the store
                cannot be written.
        """
        if self._loaded is None:
            self._loaded = self._load(stretch)
        encoder, device = self._loaded
        heard = encode_stretch(
            LatentStore.at(stretch.store),
            encoder,
            stretch.name,
            stretch.batches,
            digests=stretch.digests,
            device=device,
            progress=self.progress,
        )
        write_sealed(stretch.folder / HEARD, json.dumps(asdict(heard)))

    def __reduce__(self) -> tuple[Any, ...]:
        return EncodeWork, (self.registry, self.cache)

    def _load(self, stretch: Stretch) -> tuple[Encoder, torch.device]:
        config, workspace = stretch.config, Workspace(cache=self.cache, progress=self.progress)
        corpus = make(config.corpus, "corpus", self.registry, workspace)
        encoder = make(config.encoder, "encoder", self.registry, workspace)
        encoder.bind(corpus)
        device = choose_device(config.device)
        encoder.load(device)
        found, wanted = key_of(config, encoder, corpus), stretch.store.name
        if LatentStore.for_key(self.cache, found).path.name != wanted:
            raise LatentbenchError(
                f"The encoder '{config.encoder.name}' has another fingerprint here than where the "
                f"command was given: {json.dumps(found['fingerprint'])}.",
                "Install the same versions in both places, and let both compute on the same kind "
                "of device.",
            )
        return encoder, device


def key_of(config: RunConfig, encoder: Encoder, corpus: Corpus) -> dict[str, Any]:
    """The key of the store of a run; an encoder given from Python has a digest of its code."""
    name = "@".join(filter(None, (config.encoder.name, config.encoder.inline)))
    return store_key(encoder, name, corpus, config.latents.dtype)


def plan_stretches(
    batches: Sequence[Sequence[Utterance]],
    digests: Mapping[str, str],
    *,
    store: LatentStore,
    stored: set[tuple[str, str]],
    config: RunConfig,
    folder: Path,
) -> list[Stretch]:
    """Cut batches, longest first, into stretches of about equal seconds; those with work left.

    Stretches are cut from all batches, whatever is stored, so that they have the same names again
    when the same command goes on.

    Args:
        batches: of all utterances that are wanted.
        digests: of their audio, by utterance id.
        store: where latents go.
        stored: id and digest of what is there.
        config: of the run.
        folder: below which each stretch has one of its own.
    """
    total = sum(one.seconds for batch in batches for one in batch)
    most = min(max(total / STRETCHES, SHORTEST), LONGEST)
    cut: list[list[Sequence[Utterance]]] = []
    room = 0.0
    for batch in batches:
        if room <= 0:
            cut.append([])
            room = most
        cut[-1].append(batch)
        room -= sum(one.seconds for one in batch)
    planned = []
    for part in cut:
        left = missing_of(part, digests, stored)
        name, of_these = _name(part, digests), {one.id: digests[one.id] for b in left for one in b}
        if left:
            batched = tuple(map(tuple, left))
            planned.append(Stretch(name, config, store.path, folder / name, batched, of_these))
    return planned


def encode_missing(
    store: LatentStore,
    encoder: Encoder,
    utterances: Sequence[Utterance],
    *,
    digests: Mapping[str, str],
    device: torch.device,
    progress: Progress,
    elsewhere: Elsewhere | None = None,
) -> Encoded:
    """Encode every utterance the store lacks, continuing where an earlier run was ended.

    What cannot be used is not stored: the next run tries it again. What the machine could not
    read ends the run once all else is stored, so that no run is made of what happened to be read.

    Args:
        store: where latents go; others may write to it meanwhile.
        encoder: loaded on `device`.
        utterances: all that are wanted.
        digests: of their audio, by utterance id.
        device: of the encoder.
        progress: told the seconds of audio done.
        elsewhere: the engine that encodes; None: this process, by `encoder`.

    Raises:
        LatentbenchError: the store cannot be written, or the encoder broke its contract.
        PassingTroubleError: the machine could not read an utterance.
    """
    wanted = {(one.id, digests[one.id]) for one in utterances}
    if store.holds(wanted):  # nothing is written: the cache may be another user's
        return Encoded(digests, {}, 0)
    with store.writing(progress):
        store.drop_damaged(progress)
    stored = store.usable()
    batches = plan_batches(utterances, encoder.max_batch_seconds)
    missing = missing_of(batches, digests, stored)
    total = sum(one.seconds for one in utterances)
    left = sum(one.seconds for batch in missing for one in batch)
    with Together(progress, ENCODING, total, "s", total - left) as shown:
        if elsewhere is not None:
            heard = elsewhere.encode(store, batches, digests, stored, shown)
        else:
            name = _name(batches, digests)
            heard = encode_stretch(
                store, encoder, name, missing, digests=digests, device=device, progress=shown
            )
    for message, hint in heard.troubles[:1]:
        raise PassingTroubleError(message, hint)
    fresh = sum(map(len, missing)) - len(heard.skipped)
    return Encoded({**digests, **heard.digests}, heard.skipped, fresh)


@dataclass(frozen=True)
class Elsewhere:
    """An engine that encodes, and what the work needs to know there.

    Attributes:
        engine: does the stretches.
        config: of the run.
        registry: where encoder and corpus are.
    """

    engine: Engine
    config: RunConfig
    registry: Registry

    def encode(
        self,
        store: LatentStore,
        batches: Sequence[Sequence[Utterance]],
        digests: Mapping[str, str],
        stored: set[tuple[str, str]],
        progress: Together,
    ) -> Heard:
        """Encode what is not stored; what became of it.

        Raises:
            LatentbenchError: a stretch failed; the others are stored.
        """
        work = EncodeWork(self.registry, store.path.parents[1], progress)
        heard, failed, seconds = Heard(), [], 0.0
        with _folder_of_run(store.path / FOLDER) as folder:
            stretches = plan_stretches(
                batches, digests, store=store, stored=stored, config=self.config, folder=folder
            )
            for one in stretches:
                one.folder.mkdir()
            with closed(self.engine.run(stretches, work)) as outcomes:
                for outcome in outcomes:
                    if outcome.error:
                        failed.append(outcome.error)
                    else:
                        heard.add(_heard(outcome.unit))
                        seconds += outcome.unit.seconds
                        progress.reach(seconds)
            if failed:
                message, _, hint = failed[0].partition("\n")
                raise LatentbenchError(message, hint or AGAIN)
        return heard


def _name(batches: Sequence[Sequence[Utterance]], digests: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(json.dumps([[one.id, digests[one.id]] for one in batch]).encode())
    return digest.hexdigest()[:HEX]


def _heard(stretch: Stretch) -> Heard:
    file = stretch.folder / HEARD
    with reading(file, AGAIN):
        return Heard(**json.loads(file.read_text("utf-8")))


@contextmanager
def _folder_of_run(parent: Path) -> Iterator[Path]:
    """A folder for the stretches of this run; it stays where one failed, for a day."""
    with own_folder(parent, secrets.token_hex(4), SILENT) as folder:
        for other in parent.iterdir():
            with suppress(OSError):  # its run removes it meanwhile
                if not at_work(other) and time.time() - other.stat().st_mtime > LEFT:
                    shutil.rmtree(other, ignore_errors=True)
        try:
            yield folder
        except LatentbenchError:  # its logs may say more
            raise
        except BaseException:
            _remove(folder)
            raise
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # another run is at work
        folder.parent.rmdir()
