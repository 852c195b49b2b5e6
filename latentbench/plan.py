"""What a run would do, before it does it: `latentbench run --dry-run`.

Counts are exact up to what decoding may reveal; times are measured on this machine, in about
a second, by running the training step and the encoder on random data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.cells import make_predictor, window_task
from latentbench.device import choose_device
from latentbench.errors import LatentbenchError
from latentbench.experiment import choose_audio, in_frames, make_encoder
from latentbench.latents import Latents
from latentbench.latents.store import LatentStore, store_key
from latentbench.predictors.training import Training
from latentbench.progress import SILENT
from latentbench.results.schema import SPLITS

if TYPE_CHECKING:
    from latentbench.config import RunConfig
    from latentbench.corpora import Utterance
    from latentbench.corpora.selection import Counts
    from latentbench.encoders import Encoder
    from latentbench.experiment import Audio
    from latentbench.plugins import Registry
    from latentbench.workspace import Workspace

__all__ = ["Plan", "plan_experiment"]

TRIAL_SECONDS = 4.0
TRIAL_STEPS = 3
BYTES = 4


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        encoder: name.
        corpus: name, with the subset.
        predictor: name.
        speakers: per split.
        utterances: that are used, per split.
        counts: of those listed, used, dropped and skipped, per side.
        audio_seconds: in all.
        frames: horizon -> split -> frames to train on or to score from.
        parameters: of one predictor.
        steps: of one horizon.
        encode_seconds: for what is not stored yet; None where the weights are not here.
        train_seconds: over all horizons.
        disk_bytes: of latents not stored yet, and of the models.
        stored_utterances: that need no encoding.
        notes: what the figures leave out.
    """

    encoder: str
    corpus: str
    predictor: str
    speakers: dict[str, int]
    utterances: dict[str, int]
    counts: dict[str, Counts]
    audio_seconds: float
    frames: dict[int, dict[str, int]]
    parameters: int
    steps: int
    encode_seconds: float | None
    train_seconds: float
    disk_bytes: int
    stored_utterances: int
    notes: tuple[str, ...] = ()


def plan_experiment(config: RunConfig, workspace: Workspace, registry: Registry) -> Plan:
    """Count and estimate; encodes, trains and downloads nothing.

    Raises:
        UsageError: the corpus or its split cannot be used.
    """
    encoder = make_encoder(config, workspace, registry)
    config = in_frames(config, encoder.frame_rate)
    audio = choose_audio(config, workspace, registry)
    used = audio.utterances
    sides: dict[str, list[Utterance]] = {
        side: [one for one in used if audio.split.side(one.speaker) == side] for side in SPLITS
    }
    lengths = {
        side: [_frames(encoder, one) for one in utterances] for side, utterances in sides.items()
    }
    frames = {
        horizon: {
            side: int(window_task(config, horizon).counts(lengths[side]).sum()) for side in sides
        }
        for horizon in config.task.horizons
    }
    notes: list[str] = []
    encode_seconds, missing = _encoding(config, workspace, encoder, audio, notes)
    parameters, step_seconds = _training(config, registry, encoder.dim)
    horizons = len(config.task.horizons)
    parameter_bytes = BYTES * parameters * horizons
    latent_bytes = BYTES * (encoder.dim + 1) * sum(_frames(encoder, one) for one in missing)
    return Plan(
        encoder=config.encoder.name,
        corpus=audio.corpus.name,
        predictor=config.predictor.name,
        speakers={"train": len(audio.split.train), "eval": len(audio.split.eval)},
        utterances={side: len(utterances) for side, utterances in sides.items()},
        counts=audio.counts,
        audio_seconds=sum(one.seconds for one in used),
        frames=frames,
        parameters=parameters,
        steps=config.training.steps,
        encode_seconds=encode_seconds,
        train_seconds=step_seconds * config.training.steps * horizons,
        disk_bytes=latent_bytes + parameter_bytes,
        stored_utterances=len(used) - len(missing),
        notes=tuple(notes),
    )


def _frames(encoder: Encoder, utterance: Utterance) -> int:
    """Frames of an utterance, by its header."""
    return encoder.frame_count(round(utterance.seconds * encoder.sample_rate))


def _encoding(
    config: RunConfig, workspace: Workspace, encoder: Encoder, audio: Audio, notes: list[str]
) -> tuple[float | None, list[Utterance]]:
    """Seconds of encoding to expect, and the utterances that are not stored yet."""
    everything = audio.utterances
    if not encoder.weights_at_hand():
        notes.append("encoding time is unknown until the weights are here")
        return None, everything
    device = choose_device(config.device)
    try:
        encoder.load(device)
    except LatentbenchError as error:
        notes.append(f"the encoder cannot be loaded: {error.message}")
        return None, everything
    key = store_key(encoder, config.encoder.name, audio.corpus)
    store = LatentStore.for_key(workspace.cache, key)
    stored = {name for name, _ in store.sound_entries()}
    missing = [one for one in everything if one.id not in stored]
    samples = round(TRIAL_SECONDS * encoder.sample_rate / encoder.hop) * encoder.hop
    shape = (1, samples) if encoder.channels == 1 else (1, encoder.channels, samples)
    noise = 0.1 * torch.randn(shape, device=device)
    lengths = torch.tensor([samples], device=device)
    with torch.inference_mode():
        encoder.encode(noise, lengths)
        started = time.monotonic()
        encoder.encode(noise, lengths)
    per_second = (time.monotonic() - started) / TRIAL_SECONDS
    return per_second * sum(one.seconds for one in missing), missing


def _training(config: RunConfig, registry: Registry, dim: int) -> tuple[int, float]:
    """Parameters of the predictor, and seconds of one training step."""
    rng = np.random.default_rng(0)
    trial = rng.standard_normal((config.training.batch_size + 64, dim), np.float32)
    latents = Latents.from_arrays({"trial": trial}, {"trial": "nobody"})
    frames = window_task(config, config.task.horizons[0]).frames(latents, [0])
    predictor = make_predictor("predictor", config, registry, dim=dim, seed=config.seeds[0])

    def fit(steps: int) -> float:
        training = Training(
            config=config.training.model_copy(update={"steps": steps}),
            seed=config.seeds[0],
            device=choose_device(config.device),
            checkpoint=None,
            progress=SILENT,
        )
        started = time.monotonic()
        predictor.fit(frames, training)
        return time.monotonic() - started

    fit(1)
    step = max(fit(1 + TRIAL_STEPS) - fit(1), 0.0) / TRIAL_STEPS
    return sum(one.numel() for one in predictor.parameters()), step
