"""The road, from audio to result, in one function that reads like a method section."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from latentbench.cells import CellWork, cell_record, timed
from latentbench.config import COMPONENTS, KIND_OF, build_options
from latentbench.corpora import split_speakers
from latentbench.corpora.copies import audio_digests
from latentbench.corpora.selection import select
from latentbench.device import choose_device, describe_device
from latentbench.engines import Cell
from latentbench.errors import UsageError
from latentbench.latents.encoding import encode_missing
from latentbench.latents.fitting import fit_transforms, restore_transforms
from latentbench.latents.guards import check_latents, require_disjoint_speakers
from latentbench.latents.manifest import (
    ManifestRow,
    open_latents,
    read_manifest,
    write_manifest,
)
from latentbench.latents.store import LatentStore, store_key
from latentbench.results import RunFolder, read_result
from latentbench.results.assembly import assemble
from latentbench.results.provenance import collect_provenance
from latentbench.results.schema import (
    SPLITS,
    CorpusFacts,
    EncoderFacts,
    LatentFacts,
    Skipped,
)
from latentbench.tasks.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.config import RunConfig
    from latentbench.corpora import Corpus, SpeakerSplit, Utterance
    from latentbench.encoders import Encoder
    from latentbench.engines import Engine
    from latentbench.plugins import Registry
    from latentbench.results import Result
    from latentbench.results.schema import Provenance
    from latentbench.workspace import Workspace

__all__ = [
    "Audio",
    "EncodedCorpus",
    "choose_audio",
    "encode_corpus",
    "in_frames",
    "make_encoder",
    "run_experiment",
]


@dataclass(frozen=True)
class Audio:
    """What a run listens to: the utterances it uses, and which speakers are on which side."""

    corpus: Corpus
    utterances: tuple[Utterance, ...]
    split: SpeakerSplit


@dataclass(frozen=True)
class EncodedCorpus:
    """The latents of a run and where they came from.

    Attributes:
        encoder: loaded.
        audio: what was encoded.
        store: the folder of latents.
        rows: one per utterance, in the order of streaming.
        fresh: how many utterances were encoded now; the others were there.
    """

    encoder: Encoder
    audio: Audio
    store: LatentStore
    rows: tuple[ManifestRow, ...]
    fresh: int


def run_experiment(
    config: RunConfig,
    folder: Path,
    workspace: Workspace,
    registry: Registry,
    plugin_files: Sequence[Path] = (),
) -> Result:
    """Encode the corpus, fit and score every cell, and write the results.

    A run that was ended at any moment continues where it was; one that is finished is read.

    Raises:
        UsageError: the configuration, the corpus or the folder cannot be used.
        LatentbenchError: the disk is full, or the latents cannot be had.
    """
    with RunFolder.open(folder, config) as run:
        if run.result_file.exists() and not (result := read_result(folder)).failed:
            workspace.progress.say(f"{folder} is finished; nothing is computed again.")
            return result
        seconds: dict[str, float] = {}
        with timed(seconds, "encode"):
            encoded = encode_corpus(config, workspace, registry)
        manifest = _keep_manifest(run, encoded)
        config = in_frames(config, encoded.encoder.frame_rate)
        latents, sides = open_latents(encoded.store, encoded.rows)
        with timed(seconds, "transforms"):
            transforms = fit_transforms(latents, sides, config, registry, folder)
        with timed(seconds, "guards"):
            seen = restore_transforms(latents, config, registry, transforms)
            check = check_latents(latents, seen, sides["train"])
        cells = [
            Cell(
                config=config,
                horizon=horizon,
                seed=seed,
                store=encoded.store.path,
                manifest=manifest,
                folder=run.cell(horizon, seed),
                transforms=transforms,
                plugin_files=tuple(plugin_files),
            )
            for horizon in config.task.horizons
            for seed in config.seeds
        ]
        with timed(seconds, "cells"):
            _run_cells(cells, config, workspace, registry)
        return assemble(
            run,
            config,
            registry,
            encoder=_encoder_facts(config, encoded.encoder),
            corpus=_corpus_facts(encoded),
            provenance=_provenance(config, encoded, registry, cells, seconds),
            stamps=encoded.encoder.stamps,
            latents=None if check is None else LatentFacts(**asdict(check)),
        )


def encode_corpus(config: RunConfig, workspace: Workspace, registry: Registry) -> EncodedCorpus:
    """Bring the latents of every utterance of the run into the store.

    Raises:
        UsageError: the corpus, its split or the encoder's weights cannot be used.
        LatentbenchError: the store cannot be written.
    """
    device = choose_device(config.device)
    encoder = make_encoder(config, workspace, registry)
    encoder.load(device)
    audio = choose_audio(config, workspace, registry)
    store = LatentStore.for_key(
        workspace.cache, store_key(encoder, config.encoder.name, audio.corpus)
    )
    digests = audio_digests(audio.utterances, workspace.progress)
    encoded = encode_missing(
        store,
        encoder,
        audio.utterances,
        digests=digests,
        device=device,
        progress=workspace.progress,
    )
    rows = tuple(
        ManifestRow(
            utterance=one.id,
            speaker=one.speaker,
            split="eval" if one.speaker in audio.split.eval else "train",
            audio=entry.audio,
            seconds=one.seconds,
            skipped=entry.skipped,
        )
        for one, entry in zip(audio.utterances, encoded.entries, strict=True)
    )
    return EncodedCorpus(encoder, audio, store, rows, encoded.fresh)


def choose_audio(config: RunConfig, workspace: Workspace, registry: Registry) -> Audio:
    """The utterances of a run and the sides of its speakers; decodes nothing.

    Raises:
        UsageError: the corpus is not there, or a side would be without utterances.
    """
    corpus = make_corpus(config, workspace, registry)
    listed = corpus.utterances()
    split = split_speakers(
        (one.speaker for one in listed),
        eval_fraction=config.split.eval_fraction,
        seed=config.split.seed,
    )
    used = select(listed, min_seconds=config.utterances.min_seconds, limit=config.utterances.limit)
    for side, speakers in (("train", split.train), ("eval", split.eval)):
        if not any(one.speaker in speakers for one in used):
            raise UsageError(
                f"No utterance is left to {side}: {len(used)} of {len(listed)} utterances are "
                f"used (utterances.min_seconds={config.utterances.min_seconds}, "
                f"utterances.limit={config.utterances.limit}), none of its "
                f"{len(speakers)} speaker(s).",
                "Lower utterances.min_seconds, or raise the limit.",
            )
    return Audio(corpus, tuple(used), split)


def make_encoder(config: RunConfig, workspace: Workspace, registry: Registry) -> Encoder:
    """The encoder of a run, bound to its corpus; its weights are not loaded yet.

    Raises:
        UsageError: the corpus holds latents and the encoder takes audio, or the reverse.
    """
    options = build_options(config.encoder, "encoder", registry)
    encoder: Encoder = registry.get("encoder", config.encoder.name).create(options, workspace)
    encoder.bind(make_corpus(config, workspace, registry))
    return encoder


def make_corpus(config: RunConfig, workspace: Workspace, registry: Registry) -> Corpus:
    """The corpus of a run; nothing is listed or fetched yet."""
    options = build_options(config.corpus, "corpus", registry)
    corpus: Corpus = registry.get("corpus", config.corpus.name).create(options, workspace)
    return corpus


def _run_cells(
    cells: Sequence[Cell], config: RunConfig, workspace: Workspace, registry: Registry
) -> None:
    options = build_options(config.engine, "engine", registry)
    engine: Engine = registry.get("engine", config.engine.name).create(options)
    for outcome in engine.run(cells, CellWork(workspace.progress)):
        if outcome.error:
            workspace.progress.say(f"k = {outcome.cell.horizon} failed: {outcome.error}")


def in_frames(config: RunConfig, frame_rate: float) -> RunConfig:
    """The configuration with every time of its task in frames of the encoder.

    Raises:
        UsageError: two horizons are the same number of frames.
    """
    task = config.task
    timing = Timing(task.context_ms, task.horizons_ms, task.step_ms)
    changed = task.model_copy(update=timing.in_frames(frame_rate))
    return config.model_copy(update={"task": changed})


def _keep_manifest(run: RunFolder, encoded: EncodedCorpus) -> Path:
    """Write which latents the run uses; refuse to continue a run that used others.

    Raises:
        UsageError: the audio or the encoder has changed since the run began.
        LatentbenchError: a speaker is on both sides.
    """
    require_disjoint_speakers(encoded.rows)
    file = run.path / "manifest.parquet"
    if file.exists():
        store, rows = read_manifest(file)
        changed = len(set(rows) ^ set(encoded.rows))
        if store != encoded.store.path.name or changed:
            what = f"{changed} utterances" if changed else "the encoder's weights or libraries"
            raise UsageError(
                f"The run folder '{run.path}' was begun with other latents: {what} changed since.",
                "Choose another --out, or remove the folder.",
            )
    write_manifest(file, encoded.store.path.name, encoded.rows)
    return file


def _encoder_facts(config: RunConfig, encoder: Encoder) -> EncoderFacts:
    return EncoderFacts(
        name=config.encoder.name,
        dim=encoder.dim,
        frame_rate=encoder.frame_rate,
        hop=encoder.hop,
        sample_rate=encoder.sample_rate,
        look_ahead=encoder.look_ahead,
        fingerprint=dict(encoder.fingerprint()),
    )


def _corpus_facts(encoded: EncodedCorpus) -> CorpusFacts:
    corpus, split = encoded.audio.corpus, encoded.audio.split
    usable = [row for row in encoded.rows if not row.skipped]
    return CorpusFacts(
        name=corpus.name,
        identity=dict(corpus.identity),
        speakers={"train": split.train, "eval": split.eval},
        utterances={side: sum(row.split == side for row in usable) for side in SPLITS},
        seconds={side: sum(row.seconds for row in usable if row.split == side) for side in SPLITS},
        skipped=tuple(
            Skipped(utterance=row.utterance, reason=row.skipped)
            for row in encoded.rows
            if row.skipped
        ),
    )


def _provenance(
    config: RunConfig,
    encoded: EncodedCorpus,
    registry: Registry,
    cells: Sequence[Cell],
    seconds: Mapping[str, float],
) -> Provenance:
    records = [record for cell in cells if (record := cell_record(cell.folder))]
    corpus = "\n".join(f"{row.utterance} {row.split} {row.audio}" for row in encoded.rows)
    return collect_provenance(
        device=describe_device(choose_device(config.device)),
        digests={
            "config": config.digest(),
            "corpus": hashlib.sha256(corpus.encode()).hexdigest(),
            "weights": encoded.encoder.fingerprint().get("weights", ""),
        },
        seconds=seconds,
        peak_memory_bytes=max((record.peak_memory_bytes for record in records), default=0),
        distributions=[
            registry.get(
                KIND_OF.get(section, section), getattr(config, section).name
            ).provider.distribution
            for section in COMPONENTS
        ],
    )
