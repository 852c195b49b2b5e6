"""The frames a task predicts, and batches of their windows."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.latents import Latents

__all__ = ["Batch", "TaskFrames"]


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
        step: int = 1,
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
        """Those of the frames that `mask` [N] is true for, with the windows they had."""
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
