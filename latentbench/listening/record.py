"""The schema of `listen.json`."""

from __future__ import annotations

import math
from typing import Literal

from latentbench.records import Number, Record

__all__ = ["FOLDER", "RECORD", "Listening", "Sound"]

FOLDER = "listen"  # in that of the run
RECORD = "listen.json"


class Sound(Record):
    """One WAV.

    Attributes:
        utterance: id.
        kind: what is heard: `original`, `codec`, the true `state` of a factorisation alone,
            `one-step mean`, `one-step sample`, `rollout`, and the last three by the `control`
            without a context.
        file: its name in the folder.
        seconds: how long it is.
        predicted_from: second from which on it is not true; what is scored begins there.
        si_sdr: against the original, dB; more is better. Of what is made as of waveforms it says
            little, as a sound that is alike may have other phases.
        log_mel: distance from the original, dB; less is better.
        stft: multi-resolution STFT distance from the original; less is better.
        stoi: intelligibility, 1 is the original; None without pystoi.
        pesq: perceived quality, 1 to 4.64; None without the package pesq.
        level: RMS over that of the original, dB.
        movement: change of the frames over that of the true ones; None where they are true.
        explodes_at: second from which on its frames are not finite, and it is silent; None: never.
        clipped: share of its samples beyond full scale, which are cut off.
    """

    utterance: str
    kind: str
    file: str
    seconds: float
    predicted_from: float = 0.0
    si_sdr: Number = math.nan
    log_mel: Number = math.nan
    stft: Number = math.nan
    stoi: Number | None = None
    pesq: Number | None = None
    level: Number = math.nan
    movement: Number | None = None
    explodes_at: float | None = None
    clipped: float = 0.0


class Listening(Record):
    """What `latentbench listen` made.

    Attributes:
        run: the folder of the run; `folder` is that of the sounds.
        encoder, corpus, predictor: by name.
        k: staleness in frames; `milliseconds` is the same in time.
        target: of the run: where it is `delta`, a one-step sound adds what is predicted to the
            true frame before.
        seed: of the model.
        sample_rate: of the WAVs, Hz.
        prompt_seconds: of true frames before a rollout goes on by itself.
        control: whether the control without a context is heard beside the model.
        stamps: of the run.
        left_out: why an utterance or a sound is not there.
    """

    schema_version: Literal[1] = 1
    run: str
    folder: str
    encoder: str
    corpus: str
    predictor: str
    k: int
    milliseconds: float
    target: str = "delta"
    seed: int
    sample_rate: int
    prompt_seconds: float
    control: bool
    stamps: tuple[str, ...] = ()
    sounds: tuple[Sound, ...]
    left_out: tuple[str, ...] = ()
