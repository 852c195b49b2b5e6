"""Predictors that read whole utterances, all frames at once; training on stretches of them.

A density at frame t is given frames up to t - k. Where each state of a network depends on the
frames before it alone, one pass over an utterance gives the densities of all its frames; they
are read k frames back.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from latentbench.predictors.predictor import Predictor
from latentbench.tasks import Batch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.predictors.predictor import Units
    from latentbench.tasks import TaskFrames

__all__ = ["Crops", "SequencePredictor", "Stretches", "sees_beyond_window", "stretches"]

LEAST_CROP = 16
CROPS_IN_A_BATCH = 4


class Stretches(NamedTuple):
    """Pieces of utterances that hold the contexts of some frames.

    Attributes:
        rows: of the latents, int64 [U, L]; a piece shorter than L repeats its last.
        places: of the newest context frame of each frame, int64 [N], in rows seen as [U * L].
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]


def stretches(frames: TaskFrames, which: NDArray[np.int64], reach: int) -> Stretches:
    """The shortest pieces of utterances with `reach` context frames of each frame `which`.

    Where an utterance has fewer frames before, a piece starts with the utterance. Frames that
    follow one another in `which` share a piece.
    """
    newest = frames.rows[which] - frames.horizon
    utterance = frames.utterance[which]
    apart = np.diff(newest)
    joined = (np.diff(utterance) == 0) & (apart > 0) & (apart <= reach)
    first = np.concatenate([[0], np.flatnonzero(~joined) + 1])
    last = np.concatenate([first[1:], [len(which)]]) - 1
    starts = frames.rows[which[first]] - frames.t[which[first]]
    begin = np.maximum(newest[first] - reach + 1, starts)
    length = int((newest[last] - begin).max()) + 1
    rows = np.minimum(begin[:, None] + np.arange(length), newest[last][:, None])
    piece = np.repeat(np.arange(len(first)), last - first + 1)
    return Stretches(rows, piece * length + newest - begin[piece])


class SequencePredictor(Predictor):
    """A predictor whose states at all frames of an utterance come from one pass.

    The state at frame j depends on frames j - reach + 1 .. j of that utterance.
    """

    @property
    @abstractmethod
    def reach(self) -> int:
        """Frames that a density depends on."""

    @abstractmethod
    def states(self, context: torch.Tensor) -> torch.Tensor:
        """The state at each frame, [B, T, H], of utterances [B, T, D]."""

    def go_on(self, frames: torch.Tensor, memory: Any) -> tuple[torch.Tensor, Any]:
        """The state at each of T more frames, [B, T, H], and what to keep of all frames so far.

        Here the newest frames are kept, and seen again; a predictor that can go on from less
        computes less.

        Args:
            frames: [B, T, D].
            memory: of the frames before; None at the start of the utterances. It stays as it is.
        """
        seen = frames if memory is None else torch.cat([memory, frames], -2)
        oldest = max(0, seen.shape[-2] - self.reach + 1)
        return self.states(seen)[..., -frames.shape[-2] :, :], seen[..., oldest:, :]

    @abstractmethod
    def density_of(self, states: torch.Tensor) -> Distribution:
        """The density of the target given states [..., H], batch [...]."""

    @abstractmethod
    def state_loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What training minimises, of states [N, H] and targets [N, D]; a scalar."""

    def forward(self, context: torch.Tensor) -> Distribution:
        """The density of each context, [B, W, D]."""
        return self.density_of(self.states(context)[..., -1, :])

    def densities(
        self, frames: TaskFrames, which: NDArray[np.int64], context: torch.Tensor
    ) -> Distribution:
        """The densities of the frames numbered `which`, from one pass over their utterances.

        Frames without a context share the density of a window of zeros.
        """
        if frames.blind:
            return super().densities(frames, which, context)
        pieces = stretches(frames, which, self.reach)
        states = self.states(_gathered(frames, pieces.rows).to(context.device))
        places = torch.from_numpy(pieces.places).to(context.device)
        return self.density_of(states.flatten(0, -2)[places])

    def loss(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss of windows, or of stretches.

        Args:
            context: [B, T, D].
            target: [B, D], of the last frame of each; or [B, T, D], nan where none is predicted.
        """
        states = self.states(context)
        if target.dim() < context.dim():
            return self.state_loss(states[..., -1, :], target)
        predicted = ~target[..., 0].isnan()
        return self.state_loss(states[predicted], target[predicted])

    def units(self, frames: TaskFrames, batch_size: int) -> Units:
        """What training draws its batches from: stretches of utterances.

        Frames without a context are drawn one by one: a stretch of zeros tells no more than one.
        """
        if frames.blind:
            return frames
        most = max(1, batch_size // CROPS_IN_A_BATCH)
        return Crops(frames, min(max(self.reach, LEAST_CROP), most), self.reach)


def sees_beyond_window(predictor: Predictor, frames: TaskFrames) -> bool:
    """Whether a predictor sees frames before the windows of a task."""
    return isinstance(predictor, SequencePredictor) and predictor.reach > frames.context_frames


class Crops:
    """The frames of a task in runs that follow one another, each predicted at once.

    Every frame is in one crop. A crop brings the context of all its frames, `reach` or to the
    start of the utterance, so that each is predicted from what it will be scored with.

    Args:
        frames: N of them.
        size: most frames predicted in a crop.
        reach: context frames.
    """

    def __init__(self, frames: TaskFrames, size: int, reach: int) -> None:
        self.frames = frames
        self.reach = reach
        together = (np.diff(frames.rows) == 1) & (np.diff(frames.utterance) == 0)
        run = np.concatenate([[0], np.flatnonzero(~together) + 1, [len(frames)]])
        starts = [np.arange(first, after, size) for first, after in pairwise(run)]
        self.starts = np.concatenate(starts).astype(np.int64)
        self.counts = np.diff(np.append(self.starts, len(frames)))

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, which: NDArray[np.int64]) -> Batch:
        """Context [U, L, D] and target [U, L, D] of the crops numbered `which`, on the CPU.

        The target of a context frame x_j is that of x_{j+k}, or nan where it is not predicted.
        """
        runs = [
            np.arange(start, start + count)
            for start, count in zip(self.starts[which], self.counts[which], strict=True)
        ]
        numbers = np.concatenate(runs)
        pieces = stretches(self.frames, numbers, self.reach)
        context = _gathered(self.frames, pieces.rows)
        target = torch.full_like(context, torch.nan)
        target.flatten(0, 1)[torch.from_numpy(pieces.places)] = self.frames.targets(numbers)
        return Batch(context, target)


def _gathered(frames: TaskFrames, rows: NDArray[np.int64]) -> torch.Tensor:
    """The latents of rows [U, L]; zeros where `frames` are without context."""
    gathered = frames.latents.gather(rows)
    return gathered.zero_() if frames.blind else gathered
