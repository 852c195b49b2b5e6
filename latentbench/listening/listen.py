"""Sounds of a finished run: what it was told, and what its models go on with, through the decoder.

Of each utterance: the original; the latents decoded as they are, which is the best that can be;
of a factorisation, what the true states alone say of them, which is the best of what is predicted;
predictions over one staleness on true contexts, by the mean and by a sample; and a rollout by
samples that goes on by itself after a prompt of true frames. The same by the control without a
context, where the run has one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import soundfile
import torch

from latentbench.checks import listen as with_audio
from latentbench.checks import prepare as prepared_run
from latentbench.encoders import Encoder
from latentbench.errors import UsageError
from latentbench.factorizations.stored import is_factored
from latentbench.files import require_writable, write_text, writing
from latentbench.fits import UNCONDITIONAL
from latentbench.latents.preparation import prepare
from latentbench.listening.record import RECORD, Listening, Sound
from latentbench.listening.scores import (
    log_mel_distance,
    multi_resolution_stft,
    pesq,
    si_sdr,
    stoi,
)
from latentbench.rollout.engine import Injection, frames_made, rolled_frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentbench.corpora.corpus import Utterance
    from latentbench.opened import OpenedRun
    from latentbench.predictors import Predictor
    from latentbench.rollout.engine import Mode
    from latentbench.tasks import TaskFrames
    from latentbench.workspace import Workspace

__all__ = ["Asked", "listen"]

UTTERANCES = 4
PROMPT_SECONDS = 3.0
NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
LEAST_FRAMES = 2  # that a rollout makes


class _Plan(NamedTuple):
    """A sound that a model makes, and the first frame that is its own."""

    kind: str
    mode: Mode
    inject: Injection
    begin: int


def _plans(start: int, prompted: int, length: int) -> Iterator[_Plan]:
    """From frame `start` of `length` on, and from `prompted` on by itself."""
    yield _Plan("one-step mean", "mean", Injection("teacher"), start)
    yield _Plan("one-step sample", "sample", Injection("teacher"), start)
    if start <= prompted <= length - LEAST_FRAMES:
        steps = prompted - start
        until = Injection("until", steps) if steps else Injection()
        yield _Plan("rollout", "sample", until, prompted)


@dataclass(frozen=True)
class Asked:
    """What is to be heard.

    Attributes:
        utterances: of eval, chosen as the run chooses those it rolls out.
        horizon: k; None: the smallest that is done.
        seed: of the run; None: the first that is done.
        prompt_seconds: of true frames before a rollout goes on by itself.
    """

    utterances: int = UTTERANCES
    horizon: int | None = None
    seed: int | None = None
    prompt_seconds: float = PROMPT_SECONDS


def listen(run: OpenedRun, asked: Asked, out: Path, workspace: Workspace) -> Listening:
    """Write the sounds of a run as WAVs, and `listen.json` with their scores, into a folder.

    Raises:
        UsageError: the encoder has no decoder or works in chunks, a transform has no way back,
            the run has no such cell, or its audio is not what it was.
    """
    require_writable(out, folder=True)
    return _Listener(run, asked, out, workspace).listened()


class _Listener:
    """The encoder, the models and the utterances of one run."""

    def __init__(self, run: OpenedRun, asked: Asked, out: Path, workspace: Workspace) -> None:
        self.run, self.asked, self.out, self.workspace = run, asked, out, workspace
        self.k, self.seed = _cell(run, asked)
        ready = prepared_run(run.config, workspace, run.registry)
        ready = ready if ready.audio else with_audio(ready, workspace, run.registry)
        self.encoder: Encoder = ready.encoder
        if type(self.encoder).decode is Encoder.decode:
            self.encoder.decode(torch.empty(0))  # says that there is none
        self.audio = {one.id: one for one in ready.audio.utterances} if ready.audio else {}
        self.encoder.load(run.device)
        self.left_out: list[str] = []

    def listened(self) -> Listening:
        """Make every sound."""
        run = self.run
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        models = self._models()
        frames = self._frames()
        sounds: list[Sound] = []
        chosen = [int(one) for one in dict.fromkeys(frames.utterance.tolist())]
        with self.workspace.progress.task("listening", len(chosen), "utterances") as meter:
            for number, index in enumerate(chosen, 1):
                one = frames.where(frames.utterance == index)
                sounds += self._of_utterance(number, index, one, models)
                meter.advance(1)
        result = run.result
        found = Listening(
            run=str(run.folder.path),
            folder=str(self.out),
            encoder=result.encoder.name,
            corpus=result.corpus.name,
            predictor=run.config.predictor.name,
            k=self.k,
            milliseconds=1000 * self.k / result.encoder.frame_rate,
            target=run.config.task.target,
            seed=self.seed,
            sample_rate=round(self.encoder.sample_rate),
            prompt_seconds=self.asked.prompt_seconds,
            control=len(models) > 1,
            stamps=result.stamps,
            sounds=tuple(sounds),
            left_out=tuple(self.left_out),
        )
        write_text(self.out / RECORD, found.model_dump_json(indent=2))
        return found

    def _models(self) -> dict[str, Predictor]:
        """The model, and the control without a context: what their sounds begin with -> model."""
        models = {"": self.run.model(self.k, self.seed)}
        if UNCONDITIONAL in self.run.config.controls:
            models["control "] = self.run.model(self.k, self.seed, UNCONDITIONAL)
        return models

    def _frames(self) -> TaskFrames:
        run, count = self.run, self.asked.utterances
        frames = rolled_frames(run.config, run.latents, run.sides["eval"], self.k, count=count)
        if not len(frames):
            raise UsageError(
                f"None of {self.asked.utterances} eval utterances is long enough to be heard.",
                "Ask for more with --utterances.",
            )
        if any(one.segment for one in self.run.latents.utterances):
            raise UsageError(
                f"The encoder '{self.run.config.encoder.name}' works in chunks, whose latents do "
                "not join: they cannot be heard in one piece.",
                "Choose an encoder that encodes whole utterances.",
            )
        return frames

    def _of_utterance(
        self, number: int, index: int, frames: TaskFrames, models: dict[str, Predictor]
    ) -> Iterator[Sound]:
        """Every sound of one utterance, the original first."""
        stored = self.run.latents.utterances[index]
        length = int(frames.t[-1]) + 1  # what lies beyond is not rolled out
        original = self._original(stored.id)[..., : length * self.encoder.hop]
        true = self.run.encoded.utterance(index)[:length]
        name = f"{number}-{NO_NAME.sub('-', stored.id)}"
        writer = _Writer(self.out, stored.id, name, self.encoder, original)
        yield writer.kept("original", original)
        yield writer.kept("codec", self._decoded(true))
        seen = self.run.latents.utterance(index)[:length]
        if is_factored(self.run.config):
            yield writer.kept("state", self._decoded(self.run.as_encoded(seen)))
        start = int(frames.t[0])
        prompt = min(round(self.asked.prompt_seconds * self.encoder.frame_rate), length) - start
        if not 0 <= prompt <= length - start - LEAST_FRAMES:
            self.left_out.append(
                f"{stored.id}: no rollout, it lasts {length / self.encoder.frame_rate:.1f} s and "
                f"the prompt {self.asked.prompt_seconds:g} s"
            )
        for kind, model in models.items():
            shown = frames.without_context() if kind else frames
            for plan in _plans(start, start + prompt, length):
                made = frames_made(
                    model,
                    shown,
                    device=self.run.device,
                    mode=plan.mode,
                    inject=plan.inject,
                    seed=self.seed + number,
                )
                told = f"{kind}{plan.kind}"
                yield self._made(writer, told, seen, made[plan.begin - start :], plan.begin)

    def _made(
        self, writer: _Writer, kind: str, seen: torch.Tensor, made: torch.Tensor, begin: int
    ) -> Sound:
        """One sound: true frames, then those that a model made from frame `begin` on."""
        finite = made.isfinite().all(-1)
        good = int(finite.long().argmin()) if not finite.all() else len(made)
        whole = torch.cat([seen[:begin], made[:good]])
        sound = self._decoded(self.run.as_encoded(whole))
        rest = (len(made) - good) * self.encoder.hop
        sound = torch.nn.functional.pad(sound, (0, rest))
        moved, truly = (_movement(one[begin:]) for one in (whole, seen))
        rate = self.encoder.frame_rate
        told = writer.kept(kind, sound, begin * self.encoder.hop)
        return told.model_copy(
            update={
                "movement": moved / truly if truly > 0 else math.nan,
                "explodes_at": (begin + good) / rate if good < len(made) else None,
            }
        )

    def _original(self, utterance: str) -> torch.Tensor:
        """The samples that were encoded, [channels, T]."""
        one: Utterance | None = self.audio.get(utterance)
        if one is None:
            raise UsageError(
                f"The utterance '{utterance}' of the run is not in its corpus any more.",
                "Bring the corpus back to where it was, or run again.",
            )
        samples, rate, digest = one.source.record(one.sample_rate)
        known = next(row.audio for row in self.run.rows if row.utterance == utterance)
        if digest != known:
            raise UsageError(
                f"'{one.source.describe()}', of '{utterance}', is not what the run encoded.",
                "Bring the corpus back to what it was, or run again.",
            )
        return prepare(samples, rate, self.encoder).samples

    def _decoded(self, frames: torch.Tensor) -> torch.Tensor:
        """The sound of frames [T, D] of the encoder, [channels, T hop]."""
        with torch.inference_mode():
            sound = self.encoder.decode(frames[None].to(self.run.device))[0].cpu()
        return sound if sound.ndim > 1 else sound[None]


@dataclass(frozen=True)
class _Writer:
    """Writes the sounds of one utterance, each scored against the original."""

    out: Path
    utterance: str
    name: str
    encoder: Encoder
    original: torch.Tensor

    def kept(self, kind: str, sound: torch.Tensor, begin: int = 0) -> Sound:
        """Write a sound [channels, T], and score it from sample `begin` on."""
        rate = self.encoder.sample_rate
        file = f"{self.name}-{kind.replace(' ', '-')}.wav"
        sound = sound.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0)
        cut = sound.clamp(-1.0, 1.0)
        soundfile.write(self.out / file, cut.mT.numpy(), round(rate), subtype="PCM_16")
        found = Sound(
            utterance=self.utterance,
            kind=kind,
            file=file,
            seconds=sound.shape[-1] / rate,
            predicted_from=begin / rate,
            clipped=float((sound.abs() > 1.0).float().mean()),
        )
        if kind == "original":
            return found
        one, true = (each[..., begin:].mean(0) for each in (cut, self.original))
        return found.model_copy(
            update={
                "si_sdr": si_sdr(one, true),
                "log_mel": log_mel_distance(one, true, rate),
                "stft": multi_resolution_stft(one, true, rate),
                "stoi": stoi(one, true, rate),
                "pesq": pesq(one, true, rate),
                "level": _level(one) - _level(true),
            }
        )


def _cell(run: OpenedRun, asked: Asked) -> tuple[int, int]:
    """The horizon and seed that are heard."""
    done = {one.k: one.seeds for one in run.result.horizons}
    fitted = [one.k for one in run.result.horizons if one.fitted]
    if asked.horizon is None and not fitted:
        raise UsageError("No model of the run was fitted: there is nothing to hear.")
    k = min(fitted) if asked.horizon is None else asked.horizon
    seed = asked.seed if asked.seed is not None else next(iter(done.get(k, ())), 0)
    run.require(k, seed)
    return k, seed


def _movement(frames: torch.Tensor) -> float:
    """Mean norm of the change from frame to frame, [T, D]."""
    return float(frames.double().diff(dim=0).norm(dim=-1).mean())


def _level(sound: torch.Tensor) -> float:
    """RMS in dB of full scale."""
    power = float(sound.double().square().mean())
    return 10 * math.log10(power) if power > 0 else -math.inf
