"""Training batches: which frames they hold, endlessly, from a seed; gathered ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from latentbench.tasks import Batch

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from latentbench.config import TrainingConfig
    from latentbench.predictors.predictor import Units

__all__ = ["IndexBatches", "StreamSampling", "UniformSampling", "prepared_batches", "sampling"]

# Batches gathered while another is computed on.
AHEAD = 2

# The original seeded its shuffle buffer with the run's seed + 10,000 + k.
STREAM_SEED = 10_000


class IndexBatches(Iterator["NDArray[np.int64]"], ABC):
    """Batches of frame numbers, int64 [batch], without end.

    Args:
        frames: N, at least 1; numbers are 0..N-1 in stream order.
        batch_size: frames of a batch.
    """

    def __init__(self, frames: int, batch_size: int) -> None:
        self.frames = frames
        self.batch_size = batch_size

    @abstractmethod
    def __next__(self) -> NDArray[np.int64]: ...

    def skip(self, batches: int) -> None:
        """Go on as if that many batches had been taken; 25,000 of 256 take about a second."""
        for _ in range(batches):
            next(self)


class StreamSampling(IndexBatches):
    """The original's order: every epoch streams through a shuffle buffer, which is then drained.

    The buffer is filled with the frames 0, 1, ..., buffer - 1. Each draw picks one slot uniformly,
    emits its frame and refills it with the next frame of the stream, so a frame leaves after
    `buffer` draws on average. When the stream has ended, what is in the buffer is shuffled and
    emitted. So an epoch is a permutation of all frames, and its last batch is short where N is no
    multiple of `batch_size`. The generator goes on from epoch to epoch.

    Args:
        frames: N; where it is below `buffer`, an epoch is one shuffle of all frames.
        batch_size: of every batch but the last of an epoch.
        buffer: slots of the buffer.
        seed: of the draws.
    """

    def __init__(self, frames: int, batch_size: int, *, buffer: int, seed: int) -> None:
        super().__init__(frames, batch_size)
        self._random = np.random.default_rng(seed)
        self._slots = min(buffer, frames)
        self._begin()

    def _begin(self) -> None:
        """Start an epoch with a full buffer."""
        self._buffer = np.arange(self._slots, dtype=np.int64)
        self._position = self._slots
        self._draining = False

    def __next__(self) -> NDArray[np.int64]:
        """From the stream while it lasts, then from what is left in the buffer."""
        drawn = self._exchange(min(self.batch_size, self.frames - self._position))
        if (room := self.batch_size - len(drawn)) and not self._draining:
            self._random.shuffle(self._buffer)
            self._draining = True
        rest, self._buffer = self._buffer[:room], self._buffer[room:]
        if not len(self._buffer):
            self._begin()
        return np.concatenate([drawn, rest])

    def _exchange(self, count: int) -> NDArray[np.int64]:
        """Make `count` draws at once; a slot drawn again emits what refilled it."""
        slots = self._random.integers(0, self._slots, size=count)
        fresh = np.arange(self._position, self._position + count, dtype=np.int64)
        self._position += count
        by_slot = np.argsort(slots, kind="stable")
        again = np.flatnonzero(slots[by_slot[1:]] == slots[by_slot[:-1]])
        drawn = self._buffer[slots]
        drawn[by_slot[again + 1]] = fresh[by_slot[again]]
        last = np.setdiff1d(np.arange(count), by_slot[again], assume_unique=True)
        self._buffer[slots[last]] = fresh[last]
        return drawn


class UniformSampling(IndexBatches):
    """A fresh permutation of all frames per epoch.

    Args:
        frames: N.
        batch_size: of every batch; one may span epochs.
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


def sampling(config: TrainingConfig, frames: int, seed: int, horizon: int) -> IndexBatches:
    """The sampling that `training.sampling` names.

    Args:
        config: of the training.
        frames: N.
        seed: of the training.
        horizon: k, which is part of the original's seed of the shuffle buffer.
    """
    if config.sampling == "stream":
        return StreamSampling(
            frames,
            config.batch_size,
            buffer=config.shuffle_buffer,
            seed=seed + STREAM_SEED + horizon,
        )
    return UniformSampling(frames, config.batch_size, seed=seed)


@contextmanager
def prepared_batches(
    units: Units, indices: IndexBatches, device: torch.device
) -> Iterator[Iterator[Batch]]:
    """The batches of `indices` on `device`, gathered by a thread while others are computed on.

    For CUDA they go through pinned memory, without waiting. What goes wrong while gathering is
    raised where the batch would have come. The thread has ended on leaving.
    """
    pin = device.type == "cuda"

    def gather() -> Batch:
        batch = units.batch(next(indices))
        return Batch(batch.context.pin_memory(), batch.target.pin_memory()) if pin else batch

    def moved() -> Iterator[Batch]:
        ahead = deque(pool.submit(gather) for _ in range(AHEAD))
        while True:
            ahead.append(pool.submit(gather))
            batch = ahead.popleft().result()
            yield Batch(
                batch.context.to(device, non_blocking=True),
                batch.target.to(device, non_blocking=True),
            )

    pool = ThreadPoolExecutor(1, "batches")
    try:
        yield moved()
    finally:
        pool.shutdown(cancel_futures=True)
