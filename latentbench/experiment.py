"""The road, from audio to result, in one function that reads like a method section."""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from latentbench.cells import CellWork, keep_failure, timed
from latentbench.checks import check_encoder, check_memory, in_frames, listen, make_corpus, prepare
from latentbench.config import COMPONENTS, make
from latentbench.corpora.selection import LeftOut, choose_audio, require_same_audio
from latentbench.device import choose_device, describe_device
from latentbench.engines import Cell, closed
from latentbench.engines.engine import LocalEngine
from latentbench.errors import BusyError, LatentbenchError, UsageError, counted
from latentbench.factorizations import Fitting
from latentbench.factorizations.stored import (
    factored_store,
    fit_factorization,
    is_factored,
)
from latentbench.files import SUMS, disk_full_explained
from latentbench.fits import fit_digest, fitted_models, latents_digest, networks_of
from latentbench.latents.degeneracy import check_latents
from latentbench.latents.manifest import (
    ManifestRow,
    corpus_digest,
    open_latents,
    read_manifest,
    require_disjoint_speakers,
    same_sound,
    used_audio,
    write_manifest,
)
from latentbench.latents.preparation import is_odd
from latentbench.latents.store import LatentStore
from latentbench.latents.stretches import Elsewhere, encode_missing, key_of
from latentbench.latents.transform import fit_transforms, restore_transforms
from latentbench.progress import Headed, Networks
from latentbench.results import RunFolder
from latentbench.results.assembly import assemble
from latentbench.results.folder import JOURNAL, read_record
from latentbench.results.journal import journal_of
from latentbench.results.provenance import collect_provenance
from latentbench.results.schema import SPLITS, CorpusFacts, Skipped
from latentbench.trackers.tracker import Tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from latentbench.config import RunConfig
    from latentbench.corpora.selection import Audio
    from latentbench.encoders import Encoder
    from latentbench.engines import Engine
    from latentbench.latents import Latents
    from latentbench.latents.stretches import Encoded
    from latentbench.plugins import Registry
    from latentbench.progress import Progress
    from latentbench.results import Result
    from latentbench.results.schema import EncoderFacts, Provenance
    from latentbench.workspace import Workspace

MANIFEST = "manifest.parquet"
TRACKERS = "trackers"
OTHER_FOLDER = "Choose another --out, or remove the folder."
SECONDS_BETWEEN_LOOKS = 2.0  # at folders that another process works in

__all__ = ["EncodedCorpus", "as_they_come_free", "encode_corpus", "run_experiment"]


class _Labelled(Protocol):
    @property
    def label(self) -> str: ...


Labelled = TypeVar("Labelled", bound=_Labelled)


@dataclass(frozen=True)
class EncodedCorpus:
    """The latents of a run and where they came from.

    Attributes:
        encoder: loaded.
        facts: what the result says of it.
        audio: what was encoded; what could not be is left out.
        store: the folder of latents.
        rows: one per utterance used or skipped, in the order of streaming.
        fresh: how many utterances were encoded now; the others were there.
    """

    encoder: Encoder
    facts: EncoderFacts
    audio: Audio
    store: LatentStore
    rows: tuple[ManifestRow, ...]
    fresh: int

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Utterance id -> latents, float32 [T, D].

        An encoder that works in chunks has `ID#0`, `ID#1`, ..., which do not join.
        """
        latents, _ = self.open()
        several = any(one.segment for one in latents.utterances)
        return {
            f"{one.id}#{one.segment}" if several else one.id: latents.utterance(index).numpy()
            for index, one in enumerate(latents.utterances)
        }

    def open(self) -> tuple[Latents, dict[str, list[int]]]:
        """The latents, and the utterances of each side as indices into them."""
        return open_latents(self.store, self.rows)


def run_experiment(
    config: RunConfig, folder: Path, workspace: Workspace, registry: Registry
) -> Result:
    """Encode the corpus, fit and score every cell, and write the results.

    A run that was ended at any moment continues where it was; one that is finished is read.

    Raises:
        BusyError: another process works in the folder.
        UsageError: the configuration, the corpus or the folder cannot be used.
        LatentbenchError: the disk is full, or the latents cannot be had.
    """
    result = RunFolder(folder).finished(config)
    if result is None:
        parent_there = folder.parent.exists()
        with RunFolder.open(folder, config, workspace.progress) as run:
            # Another process may have ended it since.
            if (result := run.ended) is None:
                with _no_stub_left(folder, keep_parent=parent_there):
                    return _computed(run, config, workspace, registry)
    _compare_audio(folder, config, workspace, registry)
    workspace.progress.say(f"{folder} is finished; nothing is computed again.")
    return result


def _computed(
    run: RunFolder, config: RunConfig, workspace: Workspace, registry: Registry
) -> Result:
    """The road itself, in a folder that is ours alone."""
    folder = run.path
    with (
        disk_full_explained(folder),
        journal_of(run.journal_file, workspace.progress, config=config.digest()) as journal,
    ):
        if workspace.trackers:
            plain = config.model_dump(mode="json")
            journal.told = Tracking(workspace.trackers, folder, plain, journal.say).take
        workspace = replace(workspace, progress=journal)
        seconds: dict[str, float] = {}
        waiting = partial(workspace.progress.task, total=None, unit="")
        with timed(seconds, "encode"):
            encoded = encode_corpus(config, workspace, registry)
        manifest = _keep_manifest(run, encoded)
        config = in_frames(config, encoded.encoder.frame_rate)
        latents, sides = encoded.open()
        encoded_latents, store = latents, encoded.store
        if is_factored(config):
            with timed(seconds, "factorization"):
                store = _factor(run, encoded, config, workspace, registry)
                latents, sides = open_latents(store, encoded.rows)
        with timed(seconds, "transforms"), waiting("fitting transforms"):
            transforms = fit_transforms(latents, sides, config, registry, folder)
        with timed(seconds, "guards"), waiting("looking at the latents"):
            seen = restore_transforms(latents, config, registry, transforms)
            looks = {side: check_latents(encoded_latents, seen, sides[side]) for side in SPLITS}
        if config.transforms or is_factored(config):
            check_memory(
                config,
                registry,
                dim=seen.dim,
                device=choose_device(config.device),
                frames=config.evaluation.max_frames,
            )
        cells = [
            Cell(
                config=config,
                horizon=horizon,
                seed=seed,
                store=store.path,
                manifest=manifest,
                folder=run.cell(horizon, seed),
                transforms=transforms,
                beside=workspace.beside,
            )
            for horizon in config.task.horizons
            for seed in config.seeds
        ]
        with timed(seconds, "cells"):
            _run_cells(cells, run, workspace, registry)
        with waiting("summing up"):
            result = assemble(
                run,
                config,
                registry,
                encoder=encoded.facts,
                corpus=_corpus_facts(encoded),
                provenance=_provenance(config, encoded, registry, cells, seconds),
                stamps=(
                    *encoded.encoder.stamps,
                    *_odd_rates(encoded),
                    *_decoders(encoded),
                    *_halved(config),
                ),
                latents={side: one for side, one in looks.items() if one},
            )
        journal.figures(result)
        return result


def as_they_come_free(
    runs: Sequence[Labelled], make: Callable[[Labelled, Progress], None], progress: Progress
) -> None:
    """Make each of several runs; one that another process is at has its turn when that is done.

    So processes that are given the same runs share them out.

    Args:
        runs: each has a `label`.
        make: one of them, and where it reports to; raises `BusyError` where another process works
            in its folder.
        progress: told what is made.
    """
    waiting = deque(enumerate(runs, 1))
    busy: set[str] = set()
    passed = 0  # in a row
    while waiting:
        number, one = waiting.popleft()
        try:
            make(one, Headed(progress, f"Run {number} of {len(runs)}: {one.label}"))
        except BusyError as error:
            if one.label not in busy:
                progress.say(f"{error.message} The turn of {one.label} comes later.")
            busy.add(one.label)
            waiting.append((number, one))
            passed += 1
            if passed >= len(waiting):
                time.sleep(SECONDS_BETWEEN_LOOKS)
        else:
            passed = 0


def encode_corpus(config: RunConfig, workspace: Workspace, registry: Registry) -> EncodedCorpus:
    """Bring the latents of every utterance of the run into the store; checks all there is first.

    Raises:
        UsageError: the run cannot be made, or the encoder's weights cannot be used.
        LatentbenchError: the store cannot be written.
    """
    prepared = prepare(config, workspace, registry)
    encoder, device = prepared.encoder, prepared.device
    encoder.load(device)
    facts = check_encoder(config.encoder.name, encoder)
    if prepared.audio is None:
        prepared = listen(prepared, workspace, registry)
    audio = prepared.audio
    assert audio is not None  # noqa: S101 - `listen` lists it
    for note in prepared.notes:
        workspace.progress.say(note)
    store = LatentStore.for_key(workspace.cache, key_of(config, encoder, audio.corpus))
    engine: Engine = make(config.engine, "engine", registry)
    encoded = encode_missing(
        store,
        encoder,
        audio.utterances,
        digests=audio.digests(workspace.progress),
        device=device,
        progress=workspace.progress,
        elsewhere=None if isinstance(engine, LocalEngine) else Elsewhere(engine, config, registry),
    )
    rows = _rows(audio, encoded)
    if copied := same_sound(open_latents(store, rows)[0]):
        told = {one: f"a copy: the same sound as {first}" for one, first in copied.items()}
        rows = [replace(row, skipped=told.get(row.utterance, row.skipped)) for row in rows]
    skipped = {row.utterance: LeftOut("skipped", row.skipped) for row in rows if row.skipped}
    audio = replace(audio, left_out={**audio.left_out, **skipped})
    _require_all_sides(audio, rows)
    return EncodedCorpus(encoder, facts, audio, store, tuple(rows), encoded.fresh)


def _factor(
    run: RunFolder,
    encoded: EncodedCorpus,
    config: RunConfig,
    workspace: Workspace,
    registry: Registry,
) -> LatentStore:
    """Fit the factorisation of the run, and bring z_dyn of every utterance into its store."""
    fitting = Fitting(choose_device(config.device), workspace.progress)
    file = fit_factorization(
        *encoded.open(),
        config,
        registry,
        folder=run.path,
        fitting=fitting,
        known=workspace.fitted,
        base=f"{encoded.store.path} {corpus_digest(encoded.rows)}",
    )
    return factored_store(
        encoded.store, encoded.rows, config, registry, file=file, progress=workspace.progress
    )


@contextmanager
def _no_stub_left(folder: Path, *, keep_parent: bool) -> Iterator[None]:
    """Where the run fails before it has anything to keep, remove its folder."""
    try:
        yield
    except BaseException:
        if all(
            one.name.startswith((".", "config.yaml", JOURNAL, SUMS, TRACKERS))
            for one in folder.iterdir()
        ):
            shutil.rmtree(folder, ignore_errors=True)
            if not keep_parent:
                with suppress(OSError):  # another run may have begun in it
                    folder.parent.rmdir()
        raise


def _rows(audio: Audio, encoded: Encoded) -> list[ManifestRow]:
    """A row for every utterance that is used or skipped."""
    rows = []
    for one in audio.listed:
        out = audio.left_out.get(one.id)
        if out is None or out.how == "skipped":
            rows.append(
                ManifestRow(
                    utterance=one.id,
                    speaker=one.speaker,
                    split=audio.split.side(one.speaker),
                    audio="" if out else encoded.digests[one.id],
                    seconds=one.seconds,
                    skipped=out.reason if out else encoded.skipped.get(one.id, ""),
                    attributes=tuple(one.attributes.items()),
                )
            )
    return rows


def _require_all_sides(audio: Audio, rows: Sequence[ManifestRow]) -> None:
    """Refuse a side of which decoding and encoding left nothing.

    Raises:
        UsageError: says what happened to the first.
    """
    for side in audio.split.sides:
        of_side = [row for row in rows if row.split == side]
        if all(row.skipped for row in of_side):
            first = of_side[0]
            raise UsageError(
                f"No utterance is left to {side}: all {len(of_side)} are skipped, "
                f"'{first.utterance}' since: {first.skipped}.",
                "Look at the audio and the encoder, or choose another split.seed.",
            )


def _run_cells(
    cells: Sequence[Cell], run: RunFolder, workspace: Workspace, registry: Registry
) -> None:
    engine: Engine = make(cells[0].config.engine, "engine", registry)
    with (
        Networks(workspace.progress, _networks(cells, run, workspace, registry)) as progress,
        closed(engine.run(cells, CellWork(registry, progress))) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.error:
                keep_failure(outcome)
                progress.say(f"k = {outcome.unit.horizon} failed: {outcome.error}")


def _networks(
    cells: Sequence[Cell], run: RunFolder, workspace: Workspace, registry: Registry
) -> int:
    """How many networks are left to fit; tells how many of them a run beside has fitted."""
    latents = latents_digest(cells[0], registry)
    needed = {
        fit_digest(cell, role, registry, latents)
        for cell in cells
        for role in networks_of(cell.config, cell.horizon)
    }
    needed -= {digest for digest, _ in fitted_models([run.path])}
    taken = needed & {digest for digest, _ in fitted_models(workspace.beside)}
    if taken:
        of = counted(len(needed), "fit")
        workspace.progress.say(f"Taken over from the runs before: {len(taken):,} of {of}.")
    return len(needed - taken)


def _keep_manifest(run: RunFolder, encoded: EncodedCorpus) -> Path:
    """Write which latents the run uses; refuse to continue a run that used others.

    Raises:
        UsageError: the audio or the encoder has changed since the run began.
        LatentbenchError: a speaker is on both sides.
    """
    require_disjoint_speakers(encoded.rows)
    file = run.path / MANIFEST
    if file.exists():
        store, rows = read_manifest(file)
        require_same_audio(run.path, used_audio(rows), used_audio(encoded.rows))
        if store != encoded.store.path.name:
            raise UsageError(
                f"The run folder '{run.path}' was begun with other latents: the encoder's weights "
                "or libraries changed since.",
                OTHER_FOLDER,
            )
    write_manifest(file, encoded.store.path.name, encoded.rows)
    return file


def _compare_audio(
    folder: Path, config: RunConfig, workspace: Workspace, registry: Registry
) -> None:
    """Refuse to take the result of other audio for that of this command.

    Where the audio is no longer here, the result stands.

    Raises:
        UsageError: the audio has changed since.
    """
    corpus = make_corpus(config, workspace, registry)
    if not corpus.is_at_hand():
        return
    try:
        audio = choose_audio(corpus, config.utterances, config.split, workspace.progress)
        _, rows = read_manifest(folder / MANIFEST)
    except LatentbenchError as error:
        workspace.progress.say(f"Whether its audio has changed is unknown: {error.message}")
        return
    digests = audio.digests(workspace.progress)
    skipped = {(row.utterance, row.speaker, row.audio) for row in rows if row.skipped}
    now = {(one.id, one.speaker, digests[one.id]) for one in audio.utterances}
    require_same_audio(folder, used_audio(rows), now - skipped)


def _odd_rates(encoded: EncodedCorpus) -> list[str]:
    """A stamp where utterances are resampled from rates that torchaudio has no memory for."""
    wanted = round(encoded.encoder.sample_rate)
    odd = sum(is_odd(round(one.sample_rate), wanted) for one in encoded.audio.utterances)
    return [f"odd sample rates: {odd}"] if odd else []


def _decoders(encoded: EncodedCorpus) -> list[str]:
    """A stamp for each decoder that is not libsndfile, with the number of its utterances."""
    counts = Counter(one.source.decoder for one in encoded.audio.utterances)
    return [f"decoded by {name}: {count}" for name, count in sorted(counts.items()) if name]


def _halved(config: RunConfig) -> list[str]:
    """A stamp where latents are not kept whole."""
    dtype = config.latents.dtype
    return [] if dtype == "float32" else [f"latents kept as {dtype}"]


def _corpus_facts(encoded: EncodedCorpus) -> CorpusFacts:
    audio = encoded.audio
    usable = [row for row in encoded.rows if not row.skipped]
    heard = {row.speaker for row in usable}
    return CorpusFacts(
        name=audio.corpus.name,
        identity=dict(audio.corpus.identity),
        speakers={
            side: tuple(one for one in of_side if one in heard)
            for side, of_side in audio.split.sides.items()
        },
        utterances={side: sum(row.split == side for row in usable) for side in audio.split.sides},
        seconds={
            side: sum(row.seconds for row in usable if row.split == side)
            for side in audio.split.sides
        },
        skipped=tuple(
            Skipped(utterance=row.utterance, reason=row.skipped)
            for row in encoded.rows
            if row.skipped
        ),
        counts=audio.counts,
    )


def _provenance(
    config: RunConfig,
    encoded: EncodedCorpus,
    registry: Registry,
    cells: Sequence[Cell],
    seconds: Mapping[str, float],
) -> Provenance:
    records = [record for cell in cells if (record := read_record(cell.folder))]
    return collect_provenance(
        device=describe_device(choose_device(config.device)),
        digests={
            "config": config.digest(),
            "corpus": corpus_digest(encoded.rows),
            "weights": encoded.encoder.fingerprint().get("weights", ""),
        },
        seconds=seconds,
        peak_memory_bytes=max((record.peak_memory_bytes for record in records), default=0),
        distributions=[
            registry.get(kind, getattr(config, section).name).provider.distribution
            for section, kind in COMPONENTS.items()
        ],
    )
