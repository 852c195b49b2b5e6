"""Windows: which frames of an utterance are predicted at one horizon, and from which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.errors import UsageError, nearest
from latentbench.tasks.frames import TaskFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from latentbench.latents import Latents

__all__ = ["FRAME_SETS", "PHASE1_LAGS", "TARGETS", "WindowTask"]

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

    Raises:
        UsageError: a value that names no task.
    """

    context_frames: int
    horizon: int
    target: str = "delta"
    frame_set: str = "phase1"
    horizons: tuple[int, ...] = ()
    step: int = 1

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
        return max(self.context_frames - 1 + lag, self.step)

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


def _require(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"There is no {what} called '{value}'.", nearest(value, known))
