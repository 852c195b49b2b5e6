"""The published injection protocol: 16 steps from true frames, four ways of giving some back.

16 eval utterances, drawn as for a rollout, are cut into 8 segments each, whose starts lie evenly in
the utterance; short ones overlap. From the true frames before its start each segment is rolled out
for 16 steps under every condition.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from latentbench.config import RolloutConfig, density_of
from latentbench.errors import LatentbenchError
from latentbench.metrics.metric import NO_LOG_DENSITY
from latentbench.records import Number, Record
from latentbench.rollout.engine import Injection, rolled_frames, rollout
from latentbench.rollout.inflation import first_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.opened import OpenedRun
    from latentbench.progress import Meter, Progress
    from latentbench.results.schema import HorizonResult
    from latentbench.rollout.engine import Mode
    from latentbench.tasks import TaskFrames

__all__ = [
    "CONDITIONS",
    "SEGMENTS",
    "STEPS",
    "InjectedRollouts",
    "InjectionRow",
    "injected_rollouts",
    "segments_of",
]

STEPS, SEGMENTS = 16, 8
CONDITIONS = {"A": "teacher", "B": "every:4", "C": "once:1", "D": "never"}


class InjectionRow(Record):
    """Rollouts of one horizon under one condition, means over all frames of 16 steps.

    Attributes:
        k: staleness, in frames.
        milliseconds: the same in time.
        condition: `A` to `D`.
        inject: which true frames are given back.
        n: frames, of all segments and seeds.
        cosine: of the change made and the true one.
        dnll: NLL of the true target under the model's own frames, less that of the baseline, nats
            per frame; NaN without a log-density.
        state_error: ||x̂_t - x_t||, in units of the latents.
    """

    k: int
    milliseconds: float
    condition: str
    inject: str
    n: int
    cosine: Number = math.nan
    dnll: Number = math.nan
    state_error: Number = math.nan


class InjectedRollouts(Record):
    """The schema of `latentbench rollout --inject published --json`.

    Attributes:
        run: the folder.
        encoder, corpus, predictor: by name.
        mode: what the model moved by.
        steps: of each rollout.
        segments: of each utterance.
        utterances: that are long enough.
        rows: of each horizon, `A` to `D`.
        notes: why there is no ΔNLL, where the predictor has no log-density.
    """

    schema_version: Literal[1] = 1
    run: str
    encoder: str
    corpus: str
    predictor: str
    mode: str
    steps: int = STEPS
    segments: int = SEGMENTS
    utterances: int
    rows: tuple[InjectionRow, ...]
    notes: tuple[str, ...] = ()


def segments_of(frames: TaskFrames, segments: int, steps: int) -> TaskFrames:
    """So many segments of each utterance of `rollout_frames`, each as an utterance of its own.

    Utterances with fewer than `steps` frames have none.
    """
    first = np.flatnonzero(np.diff(frames.utterance, prepend=-1))
    counts = np.diff(first, append=len(frames))
    starts = [
        begin + np.linspace(0, count - steps, segments).astype(np.int64)
        for begin, count in zip(first, counts, strict=True)
        if count >= steps
    ]
    begins = np.concatenate([*starts, np.zeros(0, np.int64)])
    numbers = (begins[:, None] + np.arange(steps)).ravel()
    cut = copy.copy(frames)
    cut.rows = frames.rows[numbers]
    cut.utterance = np.repeat(np.arange(len(begins), dtype=np.int32), steps)
    cut.t = np.tile(frames.t[first[:1]].repeat(steps) + np.arange(steps), len(begins))
    cut.t = cut.t.astype(np.int32)
    return cut


def injected_rollouts(
    run: OpenedRun, horizons: tuple[int, ...], mode: Mode, progress: Progress
) -> InjectedRollouts:
    """Roll every horizon out under every condition; none given: all horizons.

    Raises:
        UsageError: the run has no such horizon.
        LatentbenchError: no eval utterance drawn is long enough.
    """
    sampled = density_of(run.config.predictor, run.registry) == "samples"
    done = [one for one in run.horizons(horizons) if one.fitted]
    centre = first_order(run.latents, run.sides["train"], run.config.evaluation.max_frames).mean
    found = [(one, _segments(run, one)) for one in done]
    protocol = _Protocol(run, mode, torch.from_numpy(centre), progress)
    rows = [
        protocol.row(one, frames, condition)
        for one, frames in found
        for condition in CONDITIONS
        if len(frames)
    ]
    if not done:
        why = "; ".join(f"k={one.k}: {one.lacking}" for one in run.horizons(horizons))
        raise LatentbenchError(
            f"There is no model to roll out: {why}.", "Give the command of the run again."
        )
    if not rows:
        raise LatentbenchError(
            f"No eval utterance drawn has {STEPS} frames to roll out.", "Use longer utterances."
        )
    return InjectedRollouts(
        run=str(run.folder.path),
        encoder=run.result.encoder.name,
        corpus=run.result.corpus.name,
        predictor=run.config.predictor.name,
        mode=mode,
        utterances=max(len(frames) for _, frames in found) // (STEPS * SEGMENTS),
        rows=tuple(rows),
        notes=(f"no ΔNLL: {NO_LOG_DENSITY}",) if sampled else (),
    )


def _segments(run: OpenedRun, horizon: HorizonResult) -> TaskFrames:
    count = RolloutConfig().utterances
    frames = rolled_frames(run.config, run.latents, run.sides["eval"], horizon.k, count=count)
    return segments_of(frames, SEGMENTS, STEPS)


@dataclass(frozen=True)
class _Protocol:
    """What is the same in all rollouts."""

    run: OpenedRun
    mode: Mode
    centre: torch.Tensor
    progress: Progress

    def row(self, horizon: HorizonResult, frames: TaskFrames, condition: str) -> InjectionRow:
        """The models of all seeds at one horizon under one condition."""
        total = len(frames) * len(horizon.seeds)
        with self.progress.task(f"k = {horizon.k}: {condition}", total, "frames") as meter:
            pieces = [
                self._rolled(horizon.k, seed, frames, condition, meter) for seed in horizon.seeds
            ]
        return InjectionRow(
            k=horizon.k,
            milliseconds=horizon.milliseconds,
            condition=condition,
            inject=CONDITIONS[condition],
            n=len(frames) * len(pieces),
            cosine=_mean([one["change_cosine"] for one in pieces]),
            dnll=_mean([_difference(one) for one in pieces if "nll_rollout" in one]),
            state_error=_mean([one["state_error"] for one in pieces]),
        )

    def _rolled(
        self, k: int, seed: int, frames: TaskFrames, condition: str, meter: Meter
    ) -> dict[str, NDArray[np.generic]]:
        return rollout(
            self.run.model(k, seed),
            self.run.model(k, seed, "baseline", "baseline"),
            frames,
            batch_size=self.run.config.evaluation.batch_size,
            device=self.run.device,
            mode=self.mode,
            inject=Injection.parse(CONDITIONS[condition]),
            centre=self.centre,
            seed=seed,
            meter=meter,
        )


def _mean(values: list[NDArray[np.generic]]) -> float:
    return float(np.concatenate(values).astype(np.float64).mean()) if values else math.nan


def _difference(columns: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    """ΔNLL of every frame; inf where its NLL is."""
    free, baseline = (columns[name].astype(np.float64) for name in ("nll_rollout", "nll_baseline"))
    return np.where(np.isfinite(free), free - np.where(np.isfinite(baseline), baseline, 0), np.inf)
