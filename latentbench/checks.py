"""What can be wrong with a run and is known before its first network; nothing here takes long.

`prepare` makes the checks in the order of their cost, for a run, for `--dry-run` and for every run
of a comparison before the first one starts. It also makes corpus and encoder, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from latentbench.cells import make_predictor
from latentbench.config import density_of, make
from latentbench.corpora.selection import choose_audio
from latentbench.device import choose_device, memory_bytes
from latentbench.errors import LatentbenchError, UsageError
from latentbench.factorizations.stored import is_factored
from latentbench.fits import window_task
from latentbench.metrics.metric import merge_columns
from latentbench.predictors.training_batches import AHEAD
from latentbench.results.assembly import metrics_of
from latentbench.results.schema import SPLITS, EncoderFacts, Figure
from latentbench.tasks.slices import check_slice
from latentbench.tasks.windows import timing_in_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.config import RunConfig
    from latentbench.corpora import Corpus, Utterance
    from latentbench.corpora.selection import Audio
    from latentbench.encoders import Encoder
    from latentbench.metrics import Metric
    from latentbench.plugins import Registry
    from latentbench.workspace import Workspace

__all__ = [
    "Prepared",
    "check_components",
    "check_corpus",
    "check_encoder",
    "check_memory",
    "check_slices",
    "count_frames",
    "in_frames",
    "listen",
    "make_corpus",
    "prepare",
    "training_bytes",
]

FLOAT = 4
STATES = 4  # of a parameter: itself, its gradient and two moments


@dataclass(frozen=True)
class Prepared:
    """A run that passed every check that costs no download.

    Attributes:
        config: with the times of its task in frames.
        device: where it computes.
        corpus: of the run.
        encoder: bound to the corpus, not loaded.
        audio: None where the corpus must be downloaded first.
        frames: horizon -> side -> frames to predict; empty likewise.
        notes: what a user should know before it starts.
    """

    config: RunConfig
    device: torch.device
    corpus: Corpus
    encoder: Encoder
    audio: Audio | None = None
    frames: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def prepare(config: RunConfig, workspace: Workspace, registry: Registry) -> Prepared:
    """Check all that can be wrong before anything is downloaded, cheap things first.

    Raises:
        UsageError: the run cannot be made as it is configured.
    """
    device = choose_device(config.device)
    check_components(config, registry)
    check_slices(config)
    corpus, encoder = bound(config, workspace, registry)
    prepared = Prepared(in_frames(config, encoder.frame_rate), device, corpus, encoder)
    return listen(prepared, workspace, registry) if corpus.is_at_hand() else prepared


def bound(config: RunConfig, workspace: Workspace, registry: Registry) -> tuple[Corpus, Encoder]:
    """The corpus of a run, and its encoder bound to it; nothing is listed, fetched or loaded."""
    corpus = make_corpus(config, workspace, registry)
    check_corpus(corpus)
    encoder: Encoder = make(config.encoder, "encoder", registry, workspace)
    encoder.bind(corpus)
    return corpus, encoder


def listen(prepared: Prepared, workspace: Workspace, registry: Registry) -> Prepared:
    """List the audio, downloading it where it must be, and check what can be checked then.

    Raises:
        UsageError: the audio cannot be had, or is too little for the task.
    """
    config, encoder = prepared.config, prepared.encoder
    audio = choose_audio(prepared.corpus, config.utterances, config.split, workspace.progress)
    check_slices(config, audio.utterances)
    frames, lacking = count_frames(config, encoder, audio.sides)
    # The number of dimensions is known once these are fitted.
    if not (config.transforms or is_factored(config)):
        most = max(count for of_side in frames.values() for count in of_side.values())
        check_memory(
            config,
            registry,
            dim=encoder.dim,
            device=prepared.device,
            frames=min(most, config.evaluation.max_frames),
        )
    return replace(prepared, audio=audio, frames=frames, notes=tuple(lacking))


def make_corpus(config: RunConfig, workspace: Workspace, registry: Registry) -> Corpus:
    """The corpus of a run; nothing is listed or fetched yet."""
    corpus: Corpus = make(config.corpus, "corpus", registry, workspace)
    return corpus


def in_frames(config: RunConfig, frame_rate: float) -> RunConfig:
    """The configuration with every time of its task in frames of the encoder.

    Raises:
        UsageError: two horizons are the same number of frames.
    """
    task = config.task
    changed = timing_in_frames(
        frame_rate,
        context_ms=task.context_ms,
        horizons_ms=task.horizons_ms,
        step_ms=task.step_ms,
        first_ms=task.first_ms,
    )
    return config.model_copy(update={"task": task.model_copy(update=changed)})


def check_components(config: RunConfig, registry: Registry) -> None:
    """Make the engine, the maps of latents and the metrics, and look at what the metrics say.

    Raises:
        UsageError: one cannot be made here, two metrics are at odds, a metric says what a result
            cannot hold, or the baseline has no log-density.
    """
    make(config.engine, "engine", registry)
    make(config.factorization, "factorization", registry)
    for one in config.transforms:
        make(one, "transform", registry)
    metrics = metrics_of(config, registry)
    merge_columns(metrics)
    for metric in metrics:
        _check_metric(metric)
    if density_of(config.baseline, registry) == "samples":
        raise UsageError(
            f"The baseline '{config.baseline.name}' gives samples and no log-density.",
            "All gains are counted from its likelihood: take one that has it, as 'marginal'.",
        )


def check_slices(config: RunConfig, utterances: Sequence[Utterance] | None = None) -> None:
    """Refuse slices that are none; where the utterances are known, also those of other ones.

    Raises:
        UsageError: names the nearest.
    """
    for name in (*config.task.slices, config.task.only):
        check_slice(name, utterances)


def check_corpus(corpus: Corpus) -> None:
    """Refuse an identity that a result cannot hold.

    Raises:
        UsageError: it is not text.
    """
    _require_text(corpus.identity, f"The identity of the corpus '{corpus.name}'")


def check_encoder(name: str, encoder: Encoder) -> EncoderFacts:
    """What a result says of a loaded encoder.

    Raises:
        UsageError: the encoder says what a result cannot hold.
    """
    fingerprint = dict(encoder.fingerprint())
    _require_text(fingerprint, f"The fingerprint of the encoder '{name}'")
    try:
        return EncoderFacts(
            name=name,
            dim=encoder.dim,
            frame_rate=encoder.frame_rate,
            hop=encoder.hop,
            sample_rate=encoder.sample_rate,
            look_ahead=encoder.look_ahead,
            fingerprint=fingerprint,
        )
    except ValidationError as error:
        raise UsageError(f"The encoder '{name}' {_broken(error)}") from None


def count_frames(
    config: RunConfig, encoder: Encoder, sides: Mapping[str, Sequence[Utterance]]
) -> tuple[dict[int, dict[str, int]], list[str]]:
    """The frames to predict, by the headers of the audio: horizon -> split -> how many.

    Returns:
        The counts, and a sentence for every horizon that has none on one side.

    Raises:
        UsageError: every horizon lacks them.
    """
    lengths = {
        side: [
            stretch.frames
            for one in utterances
            for stretch in encoder.segments(round(one.seconds * encoder.sample_rate))
        ]
        for side, utterances in sides.items()
    }
    counts: dict[int, dict[str, int]] = {
        k: {side: int(window_task(config, k).counts(lengths[side]).sum()) for side in SPLITS}
        for k in config.task.horizons
    }
    lacking = [
        f"k = {k}: no {side} utterance has the {window_task(config, k).first_frame + 1} frames "
        "that one prediction needs."
        for k, of_side in counts.items()
        for side in SPLITS
        if not of_side[side]
    ]
    if all(not all(of_side.values()) for of_side in counts.values()):
        longest = max((one for found in lengths.values() for one in found), default=0)
        raise UsageError(
            f"{' '.join(lacking)} The longest has {longest}.",
            "Use longer utterances, or a smaller context, horizon or task.first_ms: of runs that "
            "vary in these the longest decides, so that all are of the same frames.",
        )
    return counts, lacking


def check_memory(
    config: RunConfig, registry: Registry, *, dim: int, device: torch.device, frames: int
) -> None:
    """Make the predictor without memory of its own, and refuse a run that needs more than there is.

    Args:
        config: with all times in frames.
        registry: where the predictor is.
        dim: D of what it predicts.
        device: where it is trained.
        frames: the most that are scored of one split.

    Raises:
        UsageError: the predictor's options are at odds, or it does not fit.
    """
    needed, there = training_bytes(config, registry, dim=dim, frames=frames), memory_bytes(device)
    if needed is None or there is None or needed <= there:
        return
    raise UsageError(
        f"Training the predictor '{config.predictor.name}' takes about {needed / 1e9:,.1f} GB "
        f"(training.batch_size={config.training.batch_size}, "
        f"task.context_frames={config.task.context_frames}, {dim} dimensions); "
        f"'{device}' has {there / 1e9:,.1f} GB.",
        "Lower the batch size, the context or the size of the predictor.",
    )


def training_bytes(config: RunConfig, registry: Registry, *, dim: int, frames: int) -> int | None:
    """About what training and scoring hold at once: states, batches and activations.

    The activations are guessed from the weight matrices: each gives its rows for every frame,
    and they are held about three times, as values, as gradients and on the way to a density.

    None where the predictor is of a kind that cannot be made on torch's `meta` device, which
    knows sizes and holds no numbers.
    """
    training, window = config.training, (config.task.context_frames + 1) * dim
    try:
        with torch.device("meta"):
            predictor = make_predictor("predictor", config, registry, dim=dim, seed=0)
    except LatentbenchError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's network may do what `meta` cannot
        return None
    parameters = sum(one.numel() for one in predictor.parameters())
    rows = sum(one.shape[0] for one in predictor.state_dict().values() if one.ndim > 1)
    step = training.batch_size * ((AHEAD + 2) * window + 3 * rows)
    scoring = min(config.evaluation.batch_size, frames) * (2 * window + 3 * rows)
    order = 2 * training.shuffle_buffer  # int64
    return int(FLOAT * (STATES * parameters + max(step + order, scoring)))


def _check_metric(metric: Metric) -> None:
    try:
        Figure(
            split="train",
            slice="all",
            name=metric.name,
            value=math.nan,
            n=0,
            unit=metric.unit,
            better=metric.better,
            nominal=metric.nominal,
        )
    except ValidationError as error:
        raise UsageError(f"The metric '{metric.name}' {_broken(error)}") from None


def _require_text(named: Mapping[Any, Any], what: str) -> None:
    for key, value in named.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(
                f"{what} says {key!r}: {value!r}; both must be text.",
                "Report it to those who wrote it, or make it str(...) there.",
            )


def _broken(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    return f"breaks its contract: {name} is {first['input']!r} ({first['msg']})."
