"""A stretch of a longer recording, as segments and supervisions name it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from latentbench.corpora.corpus import AudioError, AudioSource, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Stretch"]


class Stretch(AudioSource):
    """The samples of another source from `start` to `end`, in seconds.

    Args:
        whole: where the recording is.
        sample_rate: of the recording, in Hz.
        start: of the stretch.
        end: of the stretch.
        channel: the only one that is kept; None for all.
    """

    def __init__(
        self,
        whole: AudioSource,
        sample_rate: float,
        start: float,
        end: float,
        channel: int | None = None,
    ) -> None:
        self.whole = whole
        self.sample_rate = sample_rate
        self.start = start
        self.end = end
        self.channel = channel

    @property
    def decoder(self) -> str:
        """That of the recording."""
        return self.whole.decoder

    def read(self) -> NDArray[np.float32]:
        """The samples, float32 [channels, samples]; see `record`."""
        return self.record(self.sample_rate).samples

    def record(self, sample_rate: float) -> Recording:
        """Read the recording and keep the stretch, rounded to whole samples.

        Raises:
            AudioError: the recording cannot be used, or is shorter than the stretch.
        """
        samples, rate, digest = self.whole.record(sample_rate)
        first, last = round(self.start * rate), round(self.end * rate)
        if last > samples.shape[1]:
            raise AudioError(f"ends at {self.end:g} s, after its recording")
        if self.channel is not None and self.channel >= len(samples):
            raise AudioError(f"no channel {self.channel} in its recording")
        rows = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        kept = np.ascontiguousarray(samples[rows, first:last])
        return Recording(kept, rate, self._digest(digest))

    def digest(self) -> str:
        """Of the recording's content, the two times and the channel."""
        return self._digest(self.whole.digest())

    def describe(self) -> str:
        """The recording and the times."""
        return f"{self.whole.describe()} from {self.start:g} to {self.end:g} s"

    def _digest(self, whole: str) -> str:
        channel = "" if self.channel is None else f"|{self.channel}"
        return hashlib.sha256(f"{whole}|{self.start!r}|{self.end!r}{channel}".encode()).hexdigest()
