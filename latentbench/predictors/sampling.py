"""Which frames make up each training batch, endlessly, from a seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.config import TrainingConfig

__all__ = ["IndexBatches", "StreamSampling", "UniformSampling", "sampling"]


class IndexBatches(Iterator["NDArray[np.int64]"], ABC):
    """Batches of frame numbers, int64 [batch], without end; a batch may span epochs.

    Args:
        frames: N, at least 1; numbers are 0..N-1 in stream order.
        batch_size: of every batch, also where N is smaller.
    """

    def __init__(self, frames: int, batch_size: int) -> None:
        self.frames = frames
        self.batch_size = batch_size

    @abstractmethod
    def __next__(self) -> NDArray[np.int64]: ...

    @abstractmethod
    def skip(self, batches: int) -> None:
        """Go on as if that many batches had been taken."""


class StreamSampling(IndexBatches):
    """The original's order: a shuffle buffer over the frames in utterance order.

    The frames 0, 1, ..., N-1, 0, 1, ... stream endlessly. The buffer is filled with the first
    `buffer` of them. Each draw picks one slot uniformly, emits its frame and refills it with
    the next frame of the stream. So draw j never emits a frame later in the stream than
    position buffer + j, epochs blend at their borders, and a frame leaves after `buffer` draws
    on average. Where N is smaller than the buffer, the buffer holds frames more than once.

    Args:
        frames: N.
        batch_size: of every batch.
        buffer: slots of the buffer.
        seed: of the draws.
    """

    def __init__(self, frames: int, batch_size: int, *, buffer: int, seed: int) -> None:
        super().__init__(frames, batch_size)
        self._random = np.random.default_rng(seed)
        self._buffer = np.arange(buffer, dtype=np.int64)
        self._position = buffer

    @property
    def buffered(self) -> NDArray[np.int64]:
        """The frames that wait in the buffer, int64 [buffer]."""
        return self._buffer % self.frames

    def __next__(self) -> NDArray[np.int64]:
        """Make the draws of a batch at once; a slot drawn again emits what refilled it."""
        slots = self._random.integers(0, len(self._buffer), size=self.batch_size)
        fresh = np.arange(self._position, self._position + self.batch_size, dtype=np.int64)
        self._position += self.batch_size
        by_slot = np.argsort(slots, kind="stable")
        again = np.flatnonzero(slots[by_slot[1:]] == slots[by_slot[:-1]])
        drawn = self._buffer[slots]
        drawn[by_slot[again + 1]] = fresh[by_slot[again]]
        last = np.setdiff1d(np.arange(len(slots)), by_slot[again], assume_unique=True)
        self._buffer[slots[last]] = fresh[last]
        return drawn % self.frames

    def skip(self, batches: int) -> None:
        """Replay the draws; 25,000 batches of 256 take about a second."""
        for _ in range(batches):
            next(self)


class UniformSampling(IndexBatches):
    """A fresh permutation of all frames per epoch.

    Args:
        frames: N.
        batch_size: of every batch.
        seed: of the permutations; that of epoch e depends on seed and e alone.
    """

    def __init__(self, frames: int, batch_size: int, *, seed: int) -> None:
        super().__init__(frames, batch_size)
        self._seed = seed
        self._drawn = 0
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __next__(self) -> NDArray[np.int64]:
        """Take the next `batch_size` of the permutations, one after another."""
        batch = np.empty(self.batch_size, dtype=np.int64)
        filled = 0
        while filled < self.batch_size:
            epoch, offset = divmod(self._drawn, self.frames)
            if epoch != self._epoch:
                random = np.random.default_rng([self._seed, epoch])
                self._order, self._epoch = random.permutation(self.frames), epoch
            part = self._order[offset : offset + self.batch_size - filled]
            batch[filled : filled + len(part)] = part
            filled += len(part)
            self._drawn += len(part)
        return batch

    def skip(self, batches: int) -> None:
        """Go on further down the permutations, whatever the number."""
        self._drawn += batches * self.batch_size


def sampling(config: TrainingConfig, frames: int, seed: int) -> IndexBatches:
    """The sampling that `training.sampling` names."""
    if config.sampling == "stream":
        return StreamSampling(frames, config.batch_size, buffer=config.shuffle_buffer, seed=seed)
    return UniformSampling(frames, config.batch_size, seed=seed)
