"""What intervals need of the frames of a metric: its sums, or the frames of each speaker."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latentbench.metrics.speaker_sums import SpeakerTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.metrics.metric import Metric

__all__ = ["Recomputed", "speaker_table"]

Columns: TypeAlias = "Mapping[str, NDArray[np.floating]]"


def speaker_table(
    make: Callable[[], Metric],
    columns: Columns,
    speaker: NDArray[np.integer],
    speakers: Sequence[str],
) -> SpeakerTable:
    """The table of a metric: by its statistic, or where it has none of the frames themselves.

    Args:
        make: gives a fresh metric.
        columns: each that the metric reads, [N].
        speaker: of each frame, an index into `speakers`, [N].
        speakers: ids; those without a frame are left out of the table.
    """
    statistic = make().statistic
    if statistic is not None:
        return statistic.reduce(columns, speaker, speakers)
    return Recomputed(make, columns, speaker, speakers)


class Recomputed(SpeakerTable):
    """The frames of each speaker, over which the metric is computed anew each time.

    Arguments as of `speaker_table`.
    """

    costly = True

    def __init__(
        self,
        make: Callable[[], Metric],
        columns: Columns,
        speaker: NDArray[np.integer],
        speakers: Sequence[str],
    ) -> None:
        self._make = make
        self._known: dict[tuple[int, ...], float] = {}
        order = np.argsort(speaker, kind="stable")
        present, first = np.unique(speaker[order], return_index=True)
        self.speakers = tuple(speakers[code] for code in present.tolist())
        self.frames = len(speaker)
        ordered = {name: np.asarray(values)[order] for name, values in columns.items()}
        bounds = [*first.tolist(), self.frames]
        self._of_speaker = [
            {name: values[start:end] for name, values in ordered.items()}
            for start, end in pairwise(bounds)
        ]

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The figure with the frames of each speaker given `weights` times, [R] for [R, G].

        Raises:
            ValueError: weights that are no counts.
        """
        counts = weights.astype(np.int64)
        if not np.array_equal(counts, weights) or (counts < 0).any():
            raise ValueError("frames are given a whole number of times")
        return np.array([self._value(tuple(row)) for row in counts.tolist()], dtype=np.float64)

    def _value(self, counts: tuple[int, ...]) -> float:
        if counts not in self._known:
            self._known[counts] = self._computed(counts)
        return self._known[counts]

    def _computed(self, counts: tuple[int, ...]) -> float:
        metric = self._make()
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for count, columns in zip(counts, self._of_speaker, strict=True):
                for _ in range(count):
                    metric.update(columns)
            return metric.compute()
