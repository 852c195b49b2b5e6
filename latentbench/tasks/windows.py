"""Windows: which frames of an utterance are predicted at one horizon, and from which.

What a user gives in milliseconds, `timing_in_frames` counts in frames.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from latentbench.latents import Latents

__all__ = [
    "FRAME_SETS",
    "PHASE1_LAGS",
    "TARGETS",
    "Batch",
    "TaskFrames",
    "WindowTask",
    "frames_of",
    "timing_in_frames",
]

TARGETS = ("delta", "x")
FRAME_SETS = ("phase1", "own", "common")

# The original indexed its frames once, for lags up to 4, and then filtered them by k.
PHASE1_LAGS = 4


@dataclass(frozen=True)
class WindowTask:
    """Predict frame t of an utterance from W frames that end k frames before it.

    Attributes:
        context_frames: W.
        horizon: k, the staleness: the context of t is x_{t-k-W+1..t-k}.
        target: `delta`, x_t - x_{t-m} at every k, or `x`, x_t itself.
        frame_set: the first frame predicted (docs/tasks.md): `phase1` t >= (W-1) + max(k, 4);
            `own` t >= (W-1) + k, all there are; `common` t >= (W-1) + max(horizons), the frames
            shared by every horizon of the run.
        horizons: every horizon of the run; `common` needs them.
        step: m; 1 is the original's one-step change. The first frame predicted is at least m.
        earliest: no frame before it is predicted, whatever the context reaches; so tasks of other
            contexts predict the same frames.

    Raises:
        UsageError: a value that names no task.
    """

    context_frames: int
    horizon: int
    target: str = "delta"
    frame_set: str = "phase1"
    horizons: tuple[int, ...] = ()
    step: int = 1
    earliest: int = 0

    def __post_init__(self) -> None:
        _require("target", self.target, TARGETS)
        _require("frame set", self.frame_set, FRAME_SETS)
        # With these at least 1, t - m and t - k - W + 1 are never before the utterance.
        for what in ("context_frames", "horizon", "step"):
            if (value := getattr(self, what)) < 1:
                raise UsageError(f"{what} is {value}; a window needs at least 1.")
        if self.frame_set == "common" and self.horizon not in self.horizons:
            raise UsageError(
                f"Horizon {self.horizon} is not among the run's horizons {self.horizons}.",
                "The frame set 'common' needs every horizon of the run, this one included.",
            )

    @property
    def first_frame(self) -> int:
        """The first frame of an utterance that is predicted."""
        lag = {
            "phase1": max(self.horizon, PHASE1_LAGS),
            "own": self.horizon,
            "common": max(self.horizons, default=0),
        }[self.frame_set]
        return max(self.context_frames - 1 + lag, self.step, self.earliest)

    def counts(self, lengths: ArrayLike) -> NDArray[np.int64]:
        """How many frames utterances of `lengths` frames give; 0 for those too short."""
        return np.maximum(np.asarray(lengths, dtype=np.int64) - self.first_frame, 0)

    def frames(self, latents: Latents, utterances: Sequence[int]) -> TaskFrames:
        """The frames of `utterances` (indices into `latents.utterances`), in the order given."""
        chosen = np.asarray(utterances, dtype=np.int32)
        lengths = [latents.utterances[index].frames for index in utterances]
        counts = self.counts(lengths)
        ends = np.cumsum(counts)
        within = np.arange(counts.sum(), dtype=np.int64) - np.repeat(ends - counts, counts)
        return TaskFrames(
            latents,
            np.repeat(chosen, counts),
            (within + self.first_frame).astype(np.int32),
            context_frames=self.context_frames,
            horizon=self.horizon,
            target=self.target,
            step=self.step,
        )


@dataclass(frozen=True)
class Batch:
    """Windows and targets of B frames.

    Attributes:
        context: float32 [B, W, D], x_{t-k-W+1..t-k}, oldest first.
        target: float32 [B, D], x_t - x_{t-m} or x_t.
    """

    context: torch.Tensor
    target: torch.Tensor


class TaskFrames:
    """The valid frames of one split at one horizon, in stream order; holds indices only.

    Attributes:
        utterance: int32 [N], index into `latents.utterances`.
        t: int32 [N], frame within the utterance.
        step: m, frames over which a `delta` is taken: x_t - x_{t-m}.
    """

    def __init__(
        self,
        latents: Latents,
        utterance: NDArray[np.int32],
        t: NDArray[np.int32],
        *,
        context_frames: int,
        horizon: int,
        target: str,
        step: int,
    ) -> None:
        self.latents = latents
        self.utterance = utterance
        self.t = t
        self.context_frames = context_frames
        self.horizon = horizon
        self.target = target
        self.step = step
        self.blind = False
        starts = np.array([stored.start for stored in latents.utterances], dtype=np.int64)
        self.rows = (starts[utterance] if len(utterance) else starts[:0]) + t
        self._window = np.arange(-context_frames + 1, 1, dtype=np.int64) - horizon

    def where(self, mask: NDArray[np.bool_]) -> TaskFrames:
        """The frames where `mask` [N] is true, with the windows they had."""
        view = copy.copy(self)
        view.utterance, view.t, view.rows = self.utterance[mask], self.t[mask], self.rows[mask]
        return view

    def without_context(self) -> TaskFrames:
        """The same frames and targets with zeros for a context."""
        view = copy.copy(self)
        view.blind = True
        return view

    def with_target(self, target: str) -> TaskFrames:
        """The same frames and contexts with another target, `delta` or `x`."""
        view = copy.copy(self)
        view.target = target
        return view

    def seen_as(self, other: TaskFrames) -> TaskFrames:
        """The same frames with the target of `other`, and blind where it is."""
        view = self.with_target(other.target)
        view.blind = other.blind
        return view

    @property
    def sees_previous(self) -> bool:
        """Whether x_{t-m} is in the context: a delta and x_t then have one density, shifted."""
        return self.horizon <= self.step < self.horizon + self.context_frames

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return self.latents.dim

    def batch(self, which: NDArray[np.int64]) -> Batch:
        """The windows and targets of the frames numbered `which` (0..N-1), on the CPU."""
        if self.blind:
            context = torch.zeros(len(which), self.context_frames, self.dim)
        else:
            context = self.latents.gather(self.rows[which][:, None] + self._window)
        return Batch(context, self.targets(which))

    def previous(self, which: NDArray[np.int64]) -> torch.Tensor:
        """x_{t-m} of the frames numbered `which`, float32 [B, D]."""
        return self.latents.gather(self.rows[which] - self.step)

    def targets(self, which: NDArray[np.int64]) -> torch.Tensor:
        """The targets alone, float32 [B, D]."""
        rows = self.rows[which]
        if self.target == "x":
            return self.latents.gather(rows)
        pair = self.latents.gather(np.stack([rows - self.step, rows]))
        return pair[1] - pair[0]


def frames_of(milliseconds: float, frame_rate: float) -> int:
    """The nearest whole number of frames, at least one."""
    return max(1, round(milliseconds * frame_rate / 1000))


def timing_in_frames(
    frame_rate: float,
    *,
    context_ms: float | None = None,
    horizons_ms: Sequence[float] | None = None,
    step_ms: float | None = None,
    first_ms: float | None = None,
) -> dict[str, int | tuple[int, ...]]:
    """Settings of a task in frames; what is None is left out.

    Args:
        frame_rate: frames per second.
        context_ms: length of the context.
        horizons_ms: stalenesses.
        step_ms: over which a delta is taken.
        first_ms: before which no frame is predicted.

    Raises:
        UsageError: two horizons are the same number of frames at this rate.
    """
    found: dict[str, int | tuple[int, ...]] = {}
    if context_ms is not None:
        found["context_frames"] = frames_of(context_ms, frame_rate)
    if step_ms is not None:
        found["step_frames"] = frames_of(step_ms, frame_rate)
    if first_ms is not None:
        found["first_frame"] = frames_of(first_ms, frame_rate)
    if horizons_ms is not None:
        horizons = tuple(frames_of(one, frame_rate) for one in horizons_ms)
        if len(set(horizons)) < len(horizons):
            asked = ", ".join(f"{one:g}" for one in horizons_ms)
            raise UsageError(
                f"At {frame_rate:g} frames per second the horizons {asked} ms are "
                f"{', '.join(map(str, horizons))} frames: some are the same.",
                f"Choose horizons at least {1000 / frame_rate:g} ms apart.",
            )
        found["horizons"] = horizons
    return found


def _require(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"There is no {what} called '{value}'.", nearest(value, known))
