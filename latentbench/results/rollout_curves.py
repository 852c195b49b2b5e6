"""The schema of `latentbench rollout --json`: rollouts of a finished run, by depth."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from latentbench.results.schema import Number  # noqa: TC001 - pydantic reads it when run

__all__ = ["CURVES_VERSION", "PERFECT_MODEL", "CurvePoint", "RolloutCurve", "RolloutCurves"]

CURVES_VERSION = 1

PERFECT_MODEL = (
    "a perfect linear model of these latents: each dimension an AR(1) of its own, with its "
    "variance and one-frame correlation on train, rolled out by samples; closed form"
)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CurvePoint(_Record):
    """A rollout at one depth j = t - t0 - k + 1; at j <= 0 the context is still true.

    Attributes:
        depth: j.
        n: frames, one per utterance and seed that reach so far; all else is NaN where it is 0.
        non_finite: frames whose gap is not finite.
        nll_teacher: median NLL of the true target under true contexts, nats per frame.
        gap_median: of the NLL under the model's own frames minus that, nats per frame.
        gap_mean: inf where a frame is.
        state_error: median of ||x̂_t - x_t|| over √tr Σ; 1.41 is that of an unrelated frame.
        cosine: mean cosine of Δ̂_t and Δ_t over finite frames.
        magnitude_ratio: median of ||Δ̂_t|| / ||Δ_t||.
        variance_ratio: mean of ||x̂_t - mean||² over that of ||x_t - mean||².
        perfect_variance_ratio: the same of a perfect linear model rolled out by samples, no
            frame given back, whatever is done here; None where there is no closed form: the
            target is no change over one frame.
    """

    depth: int
    n: int
    non_finite: int
    nll_teacher: Number
    gap_median: Number
    gap_mean: Number
    state_error: Number
    cosine: Number
    magnitude_ratio: Number
    variance_ratio: Number
    perfect_variance_ratio: Number | None = None


class RolloutCurve(_Record):
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
    perfect_inflation: Number | None = None
    perfect_unbounded: float | None = None
    shifted: bool = False


class RolloutCurves(_Record):
    """What `latentbench rollout` found.

    Attributes:
        run: the folder.
        encoder, corpus, predictor: by name.
        mode: what the model moved by: `mean`, `sample` or `component`.
        inject: which true frames were given back: `never`, `once:N`, `every:N`, `teacher`.
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

    def to_json(self) -> str:
        """Indented JSON; numbers that are not finite are strings, as in `result.json`."""
        return self.model_dump_json(indent=2) + "\n"
