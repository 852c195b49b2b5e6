"""What a run would do, before it does it: `latentbench run --dry-run`.

The checks are those of the run. Counts are exact up to what decoding may reveal; times are
measured on this machine, in a few seconds, by fitting, scoring and rolling out the models of
the run on random frames.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.cells import fit_controls, make_predictor, score_columns
from latentbench.checks import prepare
from latentbench.errors import LatentbenchError, counted
from latentbench.factorizations.stored import is_factored
from latentbench.fits import SECTION_OF, decided_by, networks_of, window_task
from latentbench.latents import Latents
from latentbench.latents.store import LatentStore
from latentbench.latents.stretches import key_of
from latentbench.metrics.scoring import score
from latentbench.predictors.training import Training
from latentbench.progress import STEPS, SilentProgress
from latentbench.rollout.engine import own_mode, rollout, rollout_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from latentbench.checks import Prepared
    from latentbench.config import RunConfig
    from latentbench.corpora import Utterance
    from latentbench.corpora.selection import Counts
    from latentbench.plugins import Registry
    from latentbench.predictors import Predictor
    from latentbench.progress import Meter
    from latentbench.tasks import TaskFrames
    from latentbench.workspace import Workspace

__all__ = ["Plan", "plan_experiment"]

TRIAL_SECONDS = 4.0
TRIAL_STEPS = 3
TRIAL_FRAMES = 512
TRIAL_BLOCKS = 4
BYTES = 4


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        encoder: name.
        corpus: name, with the subset.
        predictor: name.
        speakers: per split; empty where the corpus is not here yet, as the next four.
        utterances: that are used, per split.
        counts: of those listed, used, dropped and skipped, per side.
        audio_seconds: in all.
        frames: horizon -> split -> frames to train on or to score from.
        parameters: of one predictor.
        networks: how often the predictor is fitted, for itself and for its controls; what a run
            before has fitted is not counted.
        steps: of the training of each; 0 where it is fitted in closed form.
        encode_seconds: for what is not stored yet; None where the weights or the corpus are not
            here.
        train_seconds: over all networks and baselines.
        score_seconds: over all horizons, splits and seeds; so are the next.
        rollout_seconds: of the rollouts.
        disk_bytes: of latents not stored yet, and of the models.
        stored_utterances: that need no encoding.
        notes: what the figures leave out.
        may_end_sooner: whether a training ends where validation shows no more gain.
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
    networks: int
    steps: int
    encode_seconds: float | None
    train_seconds: float
    score_seconds: float
    rollout_seconds: float
    disk_bytes: int
    stored_utterances: int
    notes: tuple[str, ...] = ()
    may_end_sooner: bool = False

    @property
    def seconds(self) -> float:
        """In all, encoding included where it is known."""
        known = self.train_seconds + self.score_seconds + self.rollout_seconds
        return known + (self.encode_seconds or 0.0)


def plan_experiment(
    config: RunConfig, workspace: Workspace, registry: Registry, planned: set[str] | None = None
) -> Plan:
    """Check, count and estimate; encodes, trains and downloads nothing.

    Args:
        config: of the run.
        workspace: where its latents may be.
        registry: where its components are.
        planned: what decides each network of the runs that come before, whose networks it takes
            over; its own are added. None: it stands alone.

    Raises:
        UsageError: the run cannot be made as it is configured.
    """
    prepared = prepare(config, workspace, registry)
    notes = list(prepared.notes)
    encode_seconds, missing = _encoding(prepared, workspace, notes)
    planned = set() if planned is None else planned
    needed = _networks(prepared.config, registry)
    trial = _Trial(prepared, registry, len(needed - planned))
    if taken := needed & planned:
        notes.append(f"taken over from the runs before: {counted(len(taken), 'fit')}")
    planned |= needed
    train_seconds = trial.train_seconds()
    stored, audio = BYTES * trial.parameters * len(needed), prepared.audio
    each = 2 if config.latents.dtype == "float16" else BYTES
    for one in missing:
        stored += (each * prepared.encoder.dim + BYTES) * _frames(prepared, one)
    if is_factored(config) and audio is not None:
        frames = sum(_frames(prepared, one) for one in audio.utterances)
        stored += (each * trial.factored_dim + BYTES) * frames
    if config.transforms or is_factored(config):
        notes.append(
            f"sizes and times are of {trial.dim} dimensions, as the options say; what is fitted "
            "may leave fewer"
        )
    return Plan(
        encoder=config.encoder.name,
        corpus=prepared.corpus.name,
        predictor=config.predictor.name,
        speakers={} if audio is None else {k: len(v) for k, v in audio.split.sides.items()},
        utterances={} if audio is None else {k: len(v) for k, v in audio.sides.items()},
        counts={} if audio is None else audio.counts,
        audio_seconds=0.0 if audio is None else sum(one.seconds for one in audio.utterances),
        frames={k: dict(of_side) for k, of_side in prepared.frames.items()},
        parameters=trial.parameters,
        networks=trial.networks,
        steps=trial.steps,
        may_end_sooner=config.training.select == "best",
        encode_seconds=encode_seconds,
        train_seconds=train_seconds,
        score_seconds=trial.score_seconds(),
        rollout_seconds=trial.rollout_seconds(),
        disk_bytes=stored,
        stored_utterances=0 if audio is None else len(audio.utterances) - len(missing),
        notes=tuple(notes),
    )


def _networks(config: RunConfig, registry: Registry) -> set[str]:
    """What decides each network of a run, all times in frames."""
    return {
        decided_by(config, role, k, seed, registry)
        for seed in config.seeds
        for k in config.task.horizons
        for role in networks_of(config, k)
    }


def _frames(prepared: Prepared, utterance: Utterance) -> int:
    """Frames of an utterance, by its header."""
    encoder = prepared.encoder
    return encoder.frame_count(round(utterance.seconds * encoder.sample_rate))


def _encoding(
    prepared: Prepared, workspace: Workspace, notes: list[str]
) -> tuple[float | None, list[Utterance]]:
    """Seconds of encoding to expect, and the utterances that are not stored yet."""
    encoder, device, audio = prepared.encoder, prepared.device, prepared.audio
    if audio is None:
        notes.append(
            "the corpus is not here: a run downloads it first; speakers, frames, encoding and "
            "the disk for its latents are unknown until then"
        )
        return None, []
    everything = list(audio.utterances)
    if not encoder.weights_at_hand():
        notes.append("encoding time is unknown until the weights are here")
        return None, everything
    try:
        encoder.load(device)
    except LatentbenchError as error:
        notes.append(f"the encoder cannot be loaded: {error.message}")
        return None, everything
    key = key_of(prepared.config, encoder, prepared.corpus)
    store = LatentStore.for_key(workspace.cache, key)
    stored = {name for name, _ in store.sound_entries()}
    missing = [one for one in everything if one.id not in stored]
    samples = round(TRIAL_SECONDS * encoder.sample_rate / encoder.hop) * encoder.hop
    shape = (1, samples) if encoder.channels == 1 else (1, encoder.channels, samples)
    noise = 0.1 * torch.randn(shape, device=device)
    lengths = torch.tensor([samples], device=device)
    with torch.inference_mode():
        encoder.encode(noise, lengths)
        seconds = _timed(lambda: encoder.encode(noise, lengths), device)
    return seconds / TRIAL_SECONDS * sum(one.seconds for one in missing), missing


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.monotonic()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - started


class _Trial:
    """The models of a run on random frames, to take their times.

    Attributes:
        factored_dim: d of the state, or D of the latents where they are not factored.
        dim: of what is predicted.
        parameters: of one predictor.
        networks: how often the predictor is fitted, as given.
        steps: of its training, 0 for a closed form.
    """

    def __init__(self, prepared: Prepared, registry: Registry, networks: int) -> None:
        self.config = prepared.config
        self.device = prepared.device
        self.registry = registry
        self.factored_dim = _factored_dim(self.config, prepared.encoder.dim)
        self.dim = _seen_dim(self.config, self.factored_dim)
        self.counts = prepared.frames
        self.eval_lengths = [
            _frames(prepared, one)
            for one in (prepared.audio.sides["eval"] if prepared.audio else ())
        ]
        self.networks = networks
        # As many as a regression on the whole window has coefficients, and more.
        self.trial = max(TRIAL_FRAMES, 2 * self.config.task.context_frames * self.dim)
        self.frames = self._random_frames(self.trial)
        watched = _Steps()
        self.predictor = self._fit("predictor", self.frames, progress=watched)
        self.baseline = self._fit("baseline", self.frames)
        self.steps = self.config.training.steps if watched.seen else 0
        self.parameters = sum(one.numel() for one in self.predictor.parameters())

    def train_seconds(self) -> float:
        """Of every predictor, and of every baseline for each of the two targets."""
        if self.steps:
            step = self._seconds("predictor", self.frames, 1 + TRIAL_STEPS)
            step -= self._seconds("predictor", self.frames)
            one = max(step, 0.0) / TRIAL_STEPS * self.steps
        else:
            one = self._closed_seconds("predictor")
        baselines = 2 * len(self.config.task.horizons) * len(self.config.seeds)
        return self.networks * one + baselines * self._closed_seconds("baseline")

    def score_seconds(self) -> float:
        """By the time of one batch."""
        controls = fit_controls(self.config, self.frames, self._fit)
        columns = score_columns(self.config, self.registry, self.predictor)
        size = min(self.config.evaluation.batch_size, len(self.frames))

        def one_batch() -> None:
            score(
                self.predictor,
                self.baseline,
                self.frames,
                columns,
                max_frames=size,
                batch_size=size,
                device=self.device,
                controls=controls,
            )

        one_batch()
        most = self.config.evaluation.max_frames
        scored = [
            min(count, most) for of_side in self.counts.values() for count in of_side.values()
        ] or [most] * 2 * len(self.config.task.horizons)
        return _timed(one_batch, self.device) / size * sum(scored) * len(self.config.seeds)

    def rollout_seconds(self) -> float:
        """By the time of a few blocks of k frames, which follow one another."""
        asked = self.config.rollout
        count = min(asked.utterances, len(self.eval_lengths))
        if not count:
            return 0.0
        longest = min(max(self.eval_lengths), asked.max_frames)
        total = 0.0
        for k in self.config.task.horizons:
            task = window_task(self.config, k)
            latents = self._random(count, task.first_frame + TRIAL_BLOCKS * k)
            frames = rollout_frames(
                latents,
                range(count),
                context_frames=self.config.task.context_frames,
                horizon=k,
                target=self.config.task.target,
                step=self.config.task.step_frames,
                count=count,
                max_frames=TRIAL_BLOCKS * k,
            )

            def roll(frames: TaskFrames = frames) -> None:
                size = self.config.evaluation.batch_size
                rollout(
                    self.predictor,
                    self.baseline,
                    frames,
                    batch_size=size,
                    device=self.device,
                    mode=own_mode(self.predictor),
                )

            roll()
            total += _timed(roll, self.device) / TRIAL_BLOCKS * longest / k
        return total * len(self.config.seeds)

    def _closed_seconds(self, section: str) -> float:
        """Of a fit that looks at every train frame, by two numbers of them."""
        few, many = self.frames, self._random_frames(4 * self.trial)
        first = self._seconds(section, few)
        each = max(self._seconds(section, many) - first, 0.0) / (len(many) - len(few))
        counts = [of_side["train"] for of_side in self.counts.values()]
        mean = sum(counts) / len(counts) if counts else len(few)
        return first + each * max(mean - len(few), 0.0)

    def _seconds(self, section: str, frames: TaskFrames, steps: int = 1) -> float:
        model = self._made(section)
        return _timed(lambda: model.fit(frames, self._training(steps)), self.device)

    def _fit(
        self, role: str, frames: TaskFrames, progress: SilentProgress | None = None
    ) -> Predictor:
        model = self._made(SECTION_OF[role])
        model.fit(frames, self._training(progress=progress))
        return model

    def _made(self, section: str) -> Predictor:
        seed = self.config.seeds[0]
        return make_predictor(section, self.config, self.registry, dim=self.dim, seed=seed).to(
            self.device
        )

    def _training(self, steps: int = 1, progress: SilentProgress | None = None) -> Training:
        return Training(
            config=self.config.training.model_copy(update={"steps": steps}),
            seed=self.config.seeds[0],
            device=self.device,
            checkpoint=None,
            progress=progress or SilentProgress(),
        )

    def _random_frames(self, count: int) -> TaskFrames:
        """Some of the first horizon, from one utterance."""
        task = window_task(self.config, self.config.task.horizons[0])
        return task.frames(self._random(1, task.first_frame + count), [0])

    def _random(self, utterances: int, frames: int) -> Latents:
        rng = np.random.default_rng(0)
        arrays = {
            str(number): rng.standard_normal((frames, self.dim), np.float32)
            for number in range(utterances)
        }
        return Latents.from_arrays(arrays, dict.fromkeys(arrays, "nobody"))


def _factored_dim(config: RunConfig, dim: int) -> int:
    """The dimensions that a factorisation of latents of `dim` is asked for."""
    return int(getattr(config.factorization.options, "dim", dim))


def _seen_dim(config: RunConfig, dim: int) -> int:
    """Those that the transforms are asked to leave of `dim`; they are fitted later."""
    for one in config.transforms:
        dim = min(dim, getattr(one.options, "components", 0) or dim)
    return dim


class _Steps(SilentProgress):
    """Notices training by steps."""

    seen = False

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work that nobody watches."""
        self.seen = self.seen or unit == STEPS
        return super().task(title, total, unit, done)
