"""Rollout curves: the models of a finished run rolled out again, and what is seen by depth.

Nothing is trained. The utterances are those the run itself rolled out, chosen by the same rule;
with the defaults the gaps are those of its `rollout.parquet`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from latentbench.errors import UsageError
from latentbench.metrics.controls import ShiftedToX
from latentbench.metrics.curve import powers_of_two, state_by_depth
from latentbench.metrics.gap import gap_by_depth
from latentbench.metrics.inflation import first_order, linear_inflation
from latentbench.metrics.injection import NEVER
from latentbench.metrics.rollout import rollout, rollout_frames
from latentbench.results.rollout_curves import CurvePoint, RolloutCurve, RolloutCurves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.finished import FinishedRun
    from latentbench.metrics.inflation import FirstOrder, LinearInflation
    from latentbench.metrics.injection import Injection
    from latentbench.metrics.moves import Mode
    from latentbench.predictors import Predictor
    from latentbench.progress import Progress
    from latentbench.results.schema import HorizonResult
    from latentbench.tasks import TaskFrames

__all__ = ["Rolling", "rollout_curves"]

Target = Literal["delta", "x"]
UTTERANCES = 16


@dataclass(frozen=True)
class Rolling:
    """How the models of a run are rolled out.

    Attributes:
        horizons: of the run; none: all of them.
        mode: what the model moves by.
        inject: which true frames are given back.
        target: what is predicted; None: what the run predicts and, where that is a change, the
            control x.
        utterances: of eval, chosen as the run chooses them.
        depths: that are reported; none: 1, 2, 4, ... as deep as there are frames.
    """

    horizons: tuple[int, ...] = ()
    mode: Mode = "mean"
    inject: Injection = NEVER
    target: Target | None = None
    utterances: int = UTTERANCES
    depths: tuple[int, ...] = ()


def rollout_curves(run: FinishedRun, rolling: Rolling, progress: Progress) -> RolloutCurves:
    """Roll every horizon out and summarise it by depth.

    Raises:
        UsageError: the run has no such horizon, or no model of that target.
        LatentbenchError: the run's files do not hold its models.
    """
    targets, notes = _targets(run, rolling)
    horizons = _horizons(run, rolling)
    moments = first_order(run.latents, run.sides["train"], run.config.evaluation.max_frames)
    curves = [
        _Curve(run, rolling, moments, horizon, target).measured(progress)
        for horizon in horizons
        for target in targets
        if horizon.seeds
    ]
    notes += [f"k={one.k}: no finished cell" for one in horizons if not one.seeds]
    return RolloutCurves(
        run=str(run.folder.path),
        encoder=run.result.encoder.name,
        corpus=run.result.corpus.name,
        predictor=run.config.predictor.name,
        mode=rolling.mode,
        inject=str(rolling.inject),
        utterances=rolling.utterances,
        step_frames=run.config.task.step_frames,
        stamps=run.result.stamps,
        train_frames=moments.frames,
        curves=tuple(curves),
        notes=tuple(notes),
    )


def _horizons(run: FinishedRun, rolling: Rolling) -> list[HorizonResult]:
    found = {one.k: one for one in run.result.horizons}
    for k in rolling.horizons:
        if k not in found:
            known = ", ".join(map(str, found))
            raise UsageError(f"The run has no horizon k = {k}.", f"It has: {known}.")
    return [found[k] for k in rolling.horizons or found]


def _targets(run: FinishedRun, rolling: Rolling) -> tuple[list[Target], list[str]]:
    """The targets to roll out, and why one is missing."""
    own = run.config.task.target
    controlled = "x_target" in run.config.controls
    if rolling.target == "delta" and own == "x":
        raise UsageError(
            "The run predicts x_t itself: it has no model of the change.",
            "Leave out --target, or run it again with --set task.target=delta.",
        )
    if rolling.target == "x" and own == "delta" and not controlled:
        raise UsageError(
            f"The run fitted no control 'x_target' (controls: {list(run.config.controls)}).",
            "Run it again with --set controls=[unconditional,x_target] and another --out.",
        )
    if rolling.target is not None:
        return [rolling.target], []
    if own == "delta" and controlled:
        return ["delta", "x"], []
    missing = ["no control with the target x: the run fitted none"] if own == "delta" else []
    return [own], missing


class _Curve:
    """One horizon and target of a run."""

    def __init__(
        self,
        run: FinishedRun,
        rolling: Rolling,
        moments: FirstOrder,
        horizon: HorizonResult,
        target: Target,
    ) -> None:
        self.run = run
        self.rolling = rolling
        self.moments = moments
        self.horizon = horizon
        self.target = target

    def measured(self, progress: Progress) -> RolloutCurve:
        """Roll out the models of all seeds and summarise them together."""
        frames = self._frames()
        pieces = [self._columns(frames, seed, progress) for seed in self.horizon.seeds]
        columns: dict[str, NDArray[Any]] = {
            name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]
        }
        depth, k = columns["depth"], self.horizon.k
        deepest = int(depth.max()) if depth.size else None
        depths = self.rolling.depths or tuple(powers_of_two(deepest or 0))
        perfect = self._perfect([j for j in depths if deepest is not None and -k < j <= deepest])
        return RolloutCurve(
            k=k,
            milliseconds=self.horizon.milliseconds,
            leaky=self.horizon.leaky,
            target=self.target,
            utterances=len(np.unique(frames.utterance)),
            seeds=self.horizon.seeds,
            n=int(depth.size),
            deepest=deepest,
            points=tuple(_points(columns, depths, self.moments.total_variance, perfect)),
            perfect_inflation=perfect.stationary if perfect else None,
            perfect_unbounded=perfect.unbounded if perfect else None,
            shifted=self._is_control and frames.sees_previous,
        )

    @property
    def _is_control(self) -> bool:
        return self.target != self.run.config.task.target

    def _frames(self) -> TaskFrames:
        task, rolled = self.run.config.task, self.run.config.rollout
        return rollout_frames(
            self.run.latents,
            self.run.sides["eval"],
            context_frames=task.context_frames,
            horizon=self.horizon.k,
            target=self.target,
            step=task.step_frames,
            count=self.rolling.utterances,
            max_frames=rolled.max_frames,
            seed=self.run.config.rollout_seed,
        )

    def _columns(
        self, frames: TaskFrames, seed: int, progress: Progress
    ) -> dict[str, NDArray[Any]]:
        predictor, baseline = self._models(seed, frames)
        title = f"k = {self.horizon.k}: rollout of {self.target}"
        with progress.task(title, len(frames), "frames") as meter:
            return rollout(
                predictor,
                baseline,
                frames,
                batch_size=self.run.config.evaluation.batch_size,
                device=self.run.device,
                mode=self.rolling.mode,
                inject=self.rolling.inject,
                centre=torch.from_numpy(self.moments.mean),
                seed=seed,
                meter=meter,
            )

    def _models(self, seed: int, frames: TaskFrames) -> tuple[Predictor, Predictor]:
        """The model of the target, and its baseline."""
        k, model = self.horizon.k, self.run.model
        if not self._is_control:
            return model(k, seed), model(k, seed, "baseline", "baseline")
        baseline = model(k, seed, "x_baseline", "baseline")
        if frames.sees_previous:
            return ShiftedToX(model(k, seed), frames), baseline
        return model(k, seed, "x_target"), baseline

    def _perfect(self, depths: Sequence[int]) -> LinearInflation | None:
        """What a perfect linear model's samples would inflate to, where that is known."""
        if self.target != "delta" or self.run.config.task.step_frames != 1:
            return None
        return linear_inflation(self.moments, self.horizon.k, depths)


def _points(
    columns: Mapping[str, NDArray[Any]],
    depths: Sequence[int],
    total_variance: float,
    perfect: LinearInflation | None,
) -> list[CurvePoint]:
    gaps = gap_by_depth(columns)
    states = state_by_depth(columns, total_variance)
    taught = columns["nll_teacher"]
    points = []
    for j in depths:
        if j not in gaps:
            points.append(_empty(j))
            continue
        gap, state = gaps[j], states[j]
        points.append(
            CurvePoint(
                depth=j,
                n=gap.n,
                non_finite=gap.non_finite,
                nll_teacher=float(np.median(taught[columns["depth"] == j])),
                gap_median=gap.median,
                gap_mean=gap.mean,
                state_error=state.error,
                cosine=state.cosine,
                magnitude_ratio=state.magnitude_ratio,
                variance_ratio=state.variance_ratio,
                perfect_variance_ratio=perfect.by_depth[j] if perfect else None,
            )
        )
    return points


def _empty(depth: int) -> CurvePoint:
    nothing = math.nan
    return CurvePoint(
        depth=depth,
        n=0,
        non_finite=0,
        nll_teacher=nothing,
        gap_median=nothing,
        gap_mean=nothing,
        state_error=nothing,
        cosine=nothing,
        magnitude_ratio=nothing,
        variance_ratio=nothing,
    )
