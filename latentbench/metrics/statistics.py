r"""Statistics: from per-frame scores to a figure, for any choice of speakers.

A statistic reduces the columns of N frames to a table of G speakers once. The table then gives
the figure for any weights of its speakers, many sets at a time: all of them once for its value,
resampled ones for its interval. A mean is \(\sum_g w_g s_g / \sum_g w_g n_g\), an R² a ratio of
such sums. A quantile is no sum: its table keeps the frames sorted and counts frames per speaker.

A metric says its statistic by the attribute `statistic`:

    statistic = Mean("error")                      # of a column
    statistic = Mean("nll", minus="nll_baseline")  # of a difference, frame by frame
    statistic = Sums(                              # of anything that is made of sums
        ("error",), lambda columns: [columns["error"] ** 2], lambda n, squares: (squares / n) ** 0.5
    )
    statistic = OfFrames(("error",), lambda columns: columns["error"].max())  # of anything
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "R2",
    "Mean",
    "OfFrames",
    "Quantile",
    "R2Var",
    "Ratio",
    "SeedMean",
    "Skill",
    "SpeakerTable",
    "Statistic",
    "Sums",
]

Floats: TypeAlias = NDArray[np.float64]
Given: TypeAlias = Mapping[str, NDArray[np.floating]]
Columns: TypeAlias = Mapping[str, Floats]

# Of sums of squares in float64.
ROUNDING = 1e-13


class SpeakerTable(ABC):
    """Per-speaker summaries from which a figure of G speakers is computed.

    Attributes:
        speakers: their ids, G of them, each with at least one frame.
        frames: N.
        costly: whether a figure costs a pass over all frames, so that thousands cost too much.
    """

    speakers: tuple[str, ...]
    frames: int
    costly: bool = False

    @abstractmethod
    def values(self, weights: Floats) -> Floats:
        """The figure with each speaker counted `weights` times, [R] for [R, G]; nan if none."""


class Statistic(ABC):
    """A figure as a function of per-frame columns.

    Attributes:
        columns: the per-frame columns it reads.
    """

    columns: tuple[str, ...]

    def reduce(
        self, columns: Given, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the frames given.

        Args:
            columns: each of `self.columns`, [N].
            speaker: of each frame, an index into `speakers`, [N].
            speakers: ids; those without a frame are left out of the table.
        """
        present = np.bincount(speaker, minlength=len(speakers)) > 0
        codes = (present.cumsum() - 1)[speaker]
        read = {name: np.asarray(columns[name], dtype=np.float64) for name in self.columns}
        with np.errstate(invalid="ignore", over="ignore"):
            table = self.table(read, codes, int(present.sum()))
        table.speakers = tuple(speakers[g] for g in np.flatnonzero(present).tolist())
        table.frames = len(codes)
        return table

    @abstractmethod
    def table(self, columns: Columns, codes: NDArray[np.intp], count: int) -> SpeakerTable:
        """The table of columns float64 [N] and the code of each frame's speaker, 0..count-1."""

    def of(self, columns: Given) -> float:
        """The figure of all frames given; nan of none."""
        everyone = np.zeros(len(columns[self.columns[0]]), dtype=np.intp)
        table = self.reduce(columns, everyone, ("everyone",))
        return float(table.values(np.ones((1, len(table.speakers))))[0])


class Sums(Statistic):
    """A formula of the number of frames and of sums over them.

    Args:
        columns: those that `terms` reads.
        terms: takes the columns, each float64 [N], and gives what is summed, each [N].
        formula: takes the number of frames and the sum of each term, each [R], and gives [R].
    """

    def __init__(
        self,
        columns: Sequence[str],
        terms: Callable[[Columns], Sequence[Floats]],
        formula: Callable[..., Floats],
    ) -> None:
        self.columns = tuple(columns)
        self._terms = terms
        self._formula = formula

    def table(self, columns: Columns, codes: NDArray[np.intp], count: int) -> SpeakerTable:
        """The table of counts and sums."""
        terms = [np.ones(len(codes)), *self._terms(columns)]
        sums = [np.bincount(codes, term, count) for term in terms]
        return _SumTable(np.stack(sums, axis=1), self._formula)


class Mean(Sums):
    """The mean of a column, or of the difference of two.

    Args:
        column: the column.
        minus: a column to subtract, frame by frame; one infinite in both has no difference.
    """

    def __init__(self, column: str, minus: str = "") -> None:
        def terms(columns: Columns) -> list[Floats]:
            return [columns[column] - columns[minus] if minus else columns[column]]

        names = (column, minus) if minus else (column,)
        super().__init__(names, terms, lambda n, total: total / n)


class Ratio(Sums):
    """The mean of one column over that of another, to a power.

    Args:
        over: the column above.
        under: the column below.
        power: of the ratio; 0.5 of one of mean squares.
    """

    def __init__(self, over: str, under: str, power: float = 1.0) -> None:
        super().__init__(
            (over, under),
            lambda columns: [columns[over], columns[under]],
            lambda _n, above, below: (above / below) ** power,
        )


class Skill(Sums):
    """1 - mean of a score / mean of the baseline's score; nan where that is not positive.

    Args:
        model: column of the model's scores.
        baseline: column of the baseline's.
    """

    def __init__(self, model: str, baseline: str) -> None:
        super().__init__(
            (model, baseline),
            lambda columns: [columns[model], columns[baseline]],
            lambda _n, ours, theirs: _explained(ours, theirs),
        )


class R2(Sums):
    """1 - sum (y - p)^2 / sum (y - mean y)^2; nan where y does not vary.

    Args:
        truth: column of y.
        predicted: column of p.
    """

    def __init__(self, truth: str, predicted: str) -> None:
        def terms(columns: Columns) -> list[Floats]:
            y, error = _around(columns[truth]), columns[truth] - columns[predicted]
            return [y, np.square(y), np.square(error)]

        super().__init__(
            (truth, predicted),
            terms,
            lambda n, y, squares, errors: _explained(errors, _spread(n, y, squares)),
        )


class R2Var(Sums):
    """1 - Var(y - p) / Var(y); nan where y does not vary.

    Args:
        truth: column of y.
        predicted: column of p.
    """

    def __init__(self, truth: str, predicted: str) -> None:
        def terms(columns: Columns) -> list[Floats]:
            y, error = _around(columns[truth]), _around(columns[truth] - columns[predicted])
            return [y, np.square(y), error, np.square(error)]

        super().__init__(
            (truth, predicted),
            terms,
            lambda n, y, squares, error, errors: _explained(
                _spread(n, error, errors), _spread(n, y, squares)
            ),
        )


class OfFrames(Statistic):
    """Any function of the frames themselves, computed anew for each choice of speakers.

    That costs a pass over all frames each time, so its interval is by the jackknife.

    Args:
        columns: those that `figure` reads.
        figure: takes the columns, each float64 [n] with n >= 1, and gives a number.
    """

    def __init__(self, columns: Sequence[str], figure: Callable[[Columns], float]) -> None:
        self.columns = tuple(columns)
        self._figure = figure

    def table(
        self,
        columns: Columns,
        codes: NDArray[np.intp],
        count: int,  # noqa: ARG002 - a table of frames needs none
    ) -> SpeakerTable:
        """The table of the frames of each speaker."""
        return _FrameTable(columns, codes, self._figure)


class Quantile(Statistic):
    """A quantile of a column: the mean of the lower and upper one where two frames share it.

    The median of all frames is numpy's. nan counts as larger than any number.

    Args:
        column: the column.
        q: between 0 and 1.
    """

    def __init__(self, column: str, q: float = 0.5) -> None:
        self.columns = (column,)
        self.q = q

    def table(self, columns: Columns, codes: NDArray[np.intp], count: int) -> SpeakerTable:
        """The table of the sorted frames."""
        return _Sorted(columns[self.columns[0]], codes, count, self.q)


class SeedMean(SpeakerTable):
    """The mean over seeds of a figure, as one table.

    Args:
        tables: of one cell, one per seed.

    Raises:
        ValueError: none are given, or they have different speakers.
    """

    def __init__(self, tables: Sequence[SpeakerTable]) -> None:
        if len({table.speakers for table in tables}) != 1:
            raise ValueError("the seeds of one cell have the same speakers")
        self.tables = tuple(tables)
        self.costly = any(table.costly for table in tables)
        self.speakers = tables[0].speakers
        self.frames = tables[0].frames

    def values(self, weights: Floats) -> Floats:
        """The mean over seeds, each with the same weights."""
        with np.errstate(invalid="ignore"):
            mean: Floats = np.mean([table.values(weights) for table in self.tables], axis=0)
        return mean


class _SumTable(SpeakerTable):
    """Sums of terms per speaker, [G, m], and the figure as a function of m totals."""

    def __init__(self, sums: Floats, formula: Callable[..., Floats]) -> None:
        self._sums = sums
        self._formula = formula

    def values(self, weights: Floats) -> Floats:
        finite = np.isfinite(self._sums)
        totals = weights @ np.where(finite, self._sums, 0.0)
        # A weight of 0 leaves an infinite speaker out; in a matrix product it would be nan.
        for g, column in np.argwhere(~finite):
            totals[weights[:, g] > 0, column] += self._sums[g, column]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.asarray(self._formula(*totals.T))


class _FrameTable(SpeakerTable):
    """The frames, and the figure as a function of them."""

    costly = True

    def __init__(
        self, columns: Columns, codes: NDArray[np.intp], figure: Callable[[Columns], float]
    ) -> None:
        self._columns = columns
        self._codes = codes
        self._figure = figure

    def values(self, weights: Floats) -> Floats:
        counts = weights.astype(np.int64)
        if not np.array_equal(counts, weights) or (counts < 0).any():
            raise ValueError("frames are given a whole number of times")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.array([self._value(row[self._codes]) for row in counts])

    def _value(self, times: NDArray[np.int64]) -> float:
        if not times.any():
            return math.nan
        given = {name: np.repeat(values, times) for name, values in self._columns.items()}
        return float(self._figure(given))


class _Sorted(SpeakerTable):
    """Frames in order of their value, and how many each speaker has up to each of some of them."""

    STEP = 1024

    def __init__(self, values: Floats, codes: NDArray[np.intp], count: int, q: float) -> None:
        self.q = q
        order = np.argsort(values, kind="stable")
        blocks = -(-len(values) // self.STEP)
        self.sorted = values[order]
        # The last block is filled up by a speaker that weighs nothing.
        filled = np.full(blocks * self.STEP, count)
        filled[: len(values)] = codes[order]
        self.codes = filled.reshape(blocks, self.STEP)
        counts = np.zeros((blocks, count + 1))
        np.add.at(counts, (np.arange(blocks)[:, None], self.codes), 1.0)
        self.up_to = counts[:, :-1].cumsum(0)

    def values(self, weights: Floats) -> Floats:
        figures = np.full(len(weights), np.nan)
        if not len(self.sorted):
            return figures
        reached = weights @ self.up_to.T
        wanted = self.q * reached[:, -1]
        some = reached[:, -1] > 0
        lower = self._first(weights, reached, wanted, np.less)
        upper = self._first(weights, reached, wanted, np.less_equal)
        with np.errstate(invalid="ignore"):  # equal ones stay as they are, infinite ones too
            middle = np.where(lower == upper, lower, lower + (upper - lower) / 2)
        figures[some] = middle[some]
        return figures

    def _first(
        self,
        weights: Floats,
        reached: Floats,
        wanted: Floats,
        short: Callable[[Floats, Floats], NDArray[np.bool_]],
    ) -> Floats:
        """The first frame up to which the weight is no longer `short` of what is wanted, [R]."""
        block = np.minimum(short(reached, wanted[:, None]).sum(1), len(self.codes) - 1)
        rows = np.arange(len(weights))
        before = np.where(block > 0, reached[rows, block - 1], 0.0)
        padded = np.pad(weights, ((0, 0), (0, 1)))
        within = np.take_along_axis(padded, self.codes[block], 1).cumsum(1) + before[:, None]
        frame = block * self.STEP + short(within, wanted[:, None]).sum(1)
        found: Floats = self.sorted[np.minimum(frame, len(self.sorted) - 1)]
        return found


def _around(values: Floats) -> Floats:
    """Values minus the first finite one, which keeps digits: a constant has no spread, exactly."""
    finite = np.isfinite(values)
    return values - values[finite.argmax()] if finite.any() else values


def _explained(error: Floats, spread: Floats) -> Floats:
    return np.where(spread > 0.0, 1.0 - error / np.where(spread > 0.0, spread, 1.0), np.nan)


def _spread(n: Floats, total: Floats, squares: Floats) -> Floats:
    """The sum of squared deviations; what rounding leaves of none is 0."""
    spread = squares - total * total / n
    return np.where(spread > ROUNDING * squares, spread, np.where(np.isnan(spread), np.nan, 0.0))
