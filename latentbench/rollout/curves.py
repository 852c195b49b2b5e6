"""Rollout curves: roll the models of a finished run out again, and summarise by depth.

Nothing is trained. The utterances are those the run itself rolled out, chosen by the same rule;
with the defaults the gaps are those of its `rollout.parquet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch

from latentbench.config import RolloutConfig, density_of
from latentbench.errors import UsageError
from latentbench.metrics.controls import ShiftedToX
from latentbench.metrics.metric import NO_LOG_DENSITY
from latentbench.records import Number, Record
from latentbench.rollout.alive import CurvePoint, life
from latentbench.rollout.engine import NEVER, rolled_frames, rollout
from latentbench.rollout.figures import by_depth, powers_of_two, summarize_gap, summarize_states
from latentbench.rollout.inflation import first_order, linear_inflation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.opened import OpenedRun
    from latentbench.predictors import Predictor
    from latentbench.progress import Progress
    from latentbench.results.schema import HorizonResult
    from latentbench.rollout.engine import Injection, Mode
    from latentbench.rollout.inflation import FirstOrder, LinearInflation
    from latentbench.tasks import TaskFrames

__all__ = ["Rolling", "RolloutCurve", "RolloutCurves", "rollout_curves"]

Target: TypeAlias = Literal["delta", "x"]

PERFECT_MODEL = (
    "a perfect linear model of these latents: each dimension an AR(1) of its own, with its "
    "variance and one-frame correlation on train, rolled out by samples; closed form"
)


class RolloutCurve(Record):
    """The rollout of one horizon and target.

    Attributes:
        k: staleness, in frames.
        milliseconds: the same in time.
        leaky: k is within the encoder's look-ahead, so the context has seen the target.
        target: `delta`: x̂_t = x̂_{t-m} + Δ̂_t; `x`: x̂_t is what the model says x_t is.
        utterances: rolled out, per seed.
        seeds: of the models.
        n: frames rolled out.
        deepest: the largest depth any frame has; None where n is 0.
        points: at the depths asked for.
        stable_milliseconds: up to the deepest of those depths before movement or variance leaves a
            half to twice the true one; 0: it never stays; None: no frame tells.
        dead_at: the depth at which it does; None: it stays alive at all that were asked for.
        perfect_inflation: of a perfect linear model's samples for ever (inf where a dimension
            grows without bound); None where there is no closed form.
        perfect_unbounded: share of the variance in dimensions that do.
        shifted: whether the control is the predictor of the change itself, moved by the frame
            x_{t-m} that its context holds: then both rollouts make the same frames.
    """

    k: int
    milliseconds: float
    leaky: bool = False
    target: Literal["delta", "x"]
    utterances: int
    seeds: tuple[int, ...]
    n: int
    deepest: int | None
    points: tuple[CurvePoint, ...]
    stable_milliseconds: float | None = None
    dead_at: int | None = None
    perfect_inflation: Number | None = None
    perfect_unbounded: float | None = None
    shifted: bool = False


class RolloutCurves(Record):
    """The schema of `latentbench rollout --json`.

    Attributes:
        run: the folder.
        encoder, corpus, predictor: by name.
        mode: what the model moved by: `mean`, `sample` or `component`.
        inject: which true frames were given back: `never`, `once:N`, `every:N`, `until:N`,
            `teacher`.
        utterances: asked for.
        step_frames: m of the change.
        stamps: of the run.
        perfect_model: what the closed form is of.
        train_frames: frames that it and the variances come from.
        notes: what is not there and why.
    """

    schema_version: Literal[1] = 1
    run: str
    encoder: str
    corpus: str
    predictor: str
    mode: Literal["mean", "sample", "component"]
    inject: str
    utterances: int
    step_frames: int
    stamps: tuple[str, ...] = ()
    perfect_model: str = PERFECT_MODEL
    train_frames: int
    curves: tuple[RolloutCurve, ...]
    notes: tuple[str, ...] = ()


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
    utterances: int = RolloutConfig().utterances
    depths: tuple[int, ...] = ()


def rollout_curves(run: OpenedRun, rolling: Rolling, progress: Progress) -> RolloutCurves:
    """Roll every horizon out and summarise it by depth.

    Raises:
        UsageError: the run has no such horizon, or no model of that target.
        LatentbenchError: the run's files do not hold its models.
    """
    targets, notes = _targets(run, rolling)
    horizons = run.horizons(rolling.horizons)
    moments = first_order(run.latents, run.sides["train"], run.config.evaluation.max_frames)
    curves = [
        _Curve(run, rolling, moments, horizon, target).measured(progress)
        for horizon in horizons
        for target in targets
        if horizon.fitted
    ]
    notes += [f"k={one.k}: {one.lacking}" for one in horizons if not one.fitted]
    if density_of(run.config.predictor, run.registry) == "samples":
        notes.append(f"no NLL and no gap: {NO_LOG_DENSITY}")
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


def _targets(run: OpenedRun, rolling: Rolling) -> tuple[list[Target], list[str]]:
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


@dataclass(frozen=True)
class _Curve:
    """One horizon and target of a run."""

    run: OpenedRun
    rolling: Rolling
    moments: FirstOrder
    horizon: HorizonResult
    target: Target

    def measured(self, progress: Progress) -> RolloutCurve:
        """Roll out the models of all seeds and summarise them together."""
        frames = self._frames()
        pieces = [self._columns(frames, seed, progress) for seed in self.horizon.seeds]
        columns: dict[str, NDArray[Any]] = {
            name: np.concatenate([one[name] for one in pieces]) for name in pieces[0]
        }
        at, k = by_depth(columns), self.horizon.k
        deepest = max(at, default=None)
        depths = self.rolling.depths or powers_of_two(deepest or 0)
        perfect = self._perfect([j for j in depths if deepest is not None and -k < j <= deepest])
        points = tuple(
            _point(j, at[j], self.moments.total_variance, perfect)
            if j in at
            else CurvePoint(depth=j)
            for j in depths
        )
        lived, frame = life(points), self.horizon.milliseconds / k
        return RolloutCurve(
            k=k,
            milliseconds=self.horizon.milliseconds,
            leaky=self.horizon.leaky,
            target=self.target,
            utterances=len(np.unique(frames.utterance)),
            seeds=self.horizon.seeds,
            n=len(columns["depth"]),
            deepest=deepest,
            points=points,
            stable_milliseconds=lived.until * frame if lived.known else None,
            dead_at=lived.death.depth if lived.death else None,
            perfect_inflation=perfect.stationary if perfect else None,
            perfect_unbounded=perfect.unbounded if perfect else None,
            shifted=self._is_control and frames.sees_previous,
        )

    @property
    def _is_control(self) -> bool:
        return self.target != self.run.config.task.target

    def _frames(self) -> TaskFrames:
        return rolled_frames(
            self.run.config,
            self.run.latents,
            self.run.sides["eval"],
            self.horizon.k,
            target=self.target,
            count=self.rolling.utterances,
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


def _point(
    depth: int,
    columns: Mapping[str, NDArray[Any]],
    total_variance: float,
    perfect: LinearInflation | None,
) -> CurvePoint:
    """What the frames at one depth come to; without a log-density there is no gap."""
    gaps: dict[str, Any] = {}
    if "nll_teacher" in columns:
        gap = summarize_gap(columns)
        gaps = {
            "nll_teacher": float(np.median(columns["nll_teacher"])),
            "gap_median": gap.median,
            "gap_mean": gap.mean,
            "non_finite": gap.non_finite,
        }
    return CurvePoint(
        depth=depth,
        n=len(columns["depth"]),
        **gaps,
        **vars(summarize_states(columns, total_variance)),
        perfect_variance_ratio=perfect.by_depth[depth] if perfect else None,
    )
