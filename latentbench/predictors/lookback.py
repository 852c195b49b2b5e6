"""Single frames of targets and windows, by how many frames they lie back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from latentbench.tasks import TaskFrames

__all__ = ["chunks", "seen", "taps"]

CHUNK_VALUES = 1 << 20


def taps(frames: TaskFrames) -> dict[int, float]:
    """The weight of each frame x_{t-lag} in the target of frame t, by lag."""
    return {0: 1.0, frames.step: -1.0} if frames.target == "delta" else {0: 1.0}


def seen(frames: TaskFrames, which: NDArray[np.int64], age: int = 0) -> torch.Tensor:
    """Of each window the frame `age` before its newest, x_{t-k-age}, float32 [B, D].

    Zeros where `frames` are without context.
    """
    rows = frames.rows[which] - frames.horizon - age
    gathered = frames.latents.gather(rows)
    return gathered.zero_() if frames.blind else gathered


def chunks(frames: TaskFrames) -> Iterator[NDArray[np.int64]]:
    """The numbers of all frames, so many at a time that a few [N, D] of float64 are small."""
    size = max(1, CHUNK_VALUES // max(1, frames.dim))
    for start in range(0, len(frames), size):
        yield np.arange(start, min(start + size, len(frames)), dtype=np.int64)
