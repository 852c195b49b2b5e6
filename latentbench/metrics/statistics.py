r"""Figures of frames, and of speakers counted any number of times.

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
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "R2",
    "Mean",
    "OfFrames",
    "Quantile",
    "R2Var",
    "SeedMean",
    "Skill",
    "SpeakerTable",
    "Statistic",
    "Sums",
]

Floats: TypeAlias = NDArray[np.float64]
Columns: TypeAlias = Mapping[str, NDArray[np.floating]]


class SpeakerTable(ABC):
    """What is left of the frames of G speakers.

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
    """How a figure follows from columns of frames.

    Attributes:
        columns: the per-frame columns it reads.
    """

    columns: tuple[str, ...]

    @abstractmethod
    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the frames given.

        Args:
            columns: each of `self.columns`, [N].
            speaker: of each frame, an index into `speakers`, [N].
            speakers: ids; those without a frame are left out of the table.
        """

    def of(self, columns: Columns) -> float:
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
        terms: Callable[[Mapping[str, Floats]], Sequence[Floats]],
        formula: Callable[..., Floats],
    ) -> None:
        self.columns = tuple(columns)
        self._terms = terms
        self._formula = formula

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of counts and sums."""
        with np.errstate(invalid="ignore", over="ignore"):
            terms = self._terms({name: _column(columns, name) for name in self.columns})
        return _sums(terms, speaker, speakers, self._formula)


class Mean(Statistic):
    """The mean of a column, or of the difference of two.

    Args:
        column: the column.
        minus: a column to subtract, frame by frame.
    """

    def __init__(self, column: str, minus: str = "") -> None:
        self.columns = (column, minus) if minus else (column,)

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of counts and sums."""
        with np.errstate(invalid="ignore"):  # a frame infinite in both has no difference
            values = _column(columns, self.columns[0])
            if len(self.columns) > 1:
                values = values - _column(columns, self.columns[1])
        return _sums([values], speaker, speakers, lambda n, total: total / n)


class OfFrames(Statistic):
    """Any function of the frames themselves, computed anew for each choice of speakers.

    That costs a pass over all frames each time, so its interval is by the jackknife.

    Args:
        columns: those that `figure` reads.
        figure: takes the columns, each float64 [n] with n >= 1, and gives a number.
    """

    def __init__(
        self, columns: Sequence[str], figure: Callable[[Mapping[str, Floats]], float]
    ) -> None:
        self.columns = tuple(columns)
        self._figure = figure

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the frames of each speaker."""
        names, codes = _with_frames(speaker, speakers)
        given = {name: _column(columns, name) for name in self.columns}
        return _FrameTable(names, len(codes), given, codes, self._figure)


class Skill(Statistic):
    """1 - mean of a score / mean of the baseline's score; nan where that is not positive.

    Args:
        model: column of the model's scores.
        baseline: column of the baseline's.
    """

    def __init__(self, model: str, baseline: str) -> None:
        self.columns = (model, baseline)

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of both sums."""
        scores = [_column(columns, name) for name in self.columns]
        return _sums(scores, speaker, speakers, lambda _n, model, base: _explained(model, base))


class _OfPrediction(Statistic):
    """How well one column tells another.

    Args:
        truth: column of y.
        predicted: column of p.
    """

    def __init__(self, truth: str, predicted: str) -> None:
        self.columns = (truth, predicted)


class R2(_OfPrediction):
    """1 - sum (y - p)^2 / sum (y - mean y)^2; nan where y does not vary."""

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the first two moments of y, and of the squared errors."""
        y, error = _truth_and_error(columns, self.columns)
        with np.errstate(over="ignore"):
            terms = [y, np.square(y), np.square(error)]
        return _sums(terms, speaker, speakers, self._value)

    @staticmethod
    def _value(n: Floats, y: Floats, y2: Floats, error2: Floats) -> Floats:
        return _explained(error2, _spread(n, y, y2))


class R2Var(_OfPrediction):
    """1 - Var(y - p) / Var(y); nan where y does not vary."""

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the first two moments of y and of the errors."""
        y, error = _truth_and_error(columns, self.columns)
        error = error - _origin(error)
        with np.errstate(over="ignore"):
            terms = [y, np.square(y), error, np.square(error)]
        return _sums(terms, speaker, speakers, self._value)

    @staticmethod
    def _value(n: Floats, y: Floats, y2: Floats, error: Floats, error2: Floats) -> Floats:
        return _explained(_spread(n, error, error2), _spread(n, y, y2))


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

    def reduce(
        self, columns: Columns, speaker: NDArray[np.integer], speakers: Sequence[str]
    ) -> SpeakerTable:
        """The table of the sorted frames."""
        names, codes = _with_frames(speaker, speakers)
        return _Sorted(_column(columns, self.columns[0]), codes, names, self.q)


# Of sums of squares in float64.
ROUNDING = 1e-13


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
        total = np.zeros(len(weights))
        with np.errstate(invalid="ignore"):
            for table in self.tables:
                total += table.values(weights)
        return total / len(self.tables)


@dataclass(frozen=True)
class _SumTable(SpeakerTable):
    """Sums of terms per speaker, [G, m], and the figure as a function of m totals."""

    speakers: tuple[str, ...]
    frames: int
    sums: Floats
    formula: Callable[..., Floats]

    def values(self, weights: Floats) -> Floats:
        finite = np.isfinite(self.sums)
        totals = weights @ np.where(finite, self.sums, 0.0)
        # A weight of 0 leaves an infinite speaker out; in a matrix product it would be nan.
        for column in np.flatnonzero(~finite.all(0)):
            for g in np.flatnonzero(~finite[:, column]):
                totals[weights[:, g] > 0, column] += self.sums[g, column]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.asarray(self.formula(*totals.T))


@dataclass(frozen=True)
class _FrameTable(SpeakerTable):
    """The frames, and the figure as a function of them."""

    costly = True

    speakers: tuple[str, ...]
    frames: int
    columns: Mapping[str, Floats]
    codes: NDArray[np.intp]
    figure: Callable[[Mapping[str, Floats]], float]

    def values(self, weights: Floats) -> Floats:
        counts = weights.astype(np.int64)
        if not np.array_equal(counts, weights) or (counts < 0).any():
            raise ValueError("frames are given a whole number of times")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.array([self._value(row) for row in counts])

    def _value(self, counts: NDArray[np.int64]) -> float:
        times = counts[self.codes]
        if not times.any():
            return math.nan
        return float(
            self.figure({name: np.repeat(one, times) for name, one in self.columns.items()})
        )


class _Sorted(SpeakerTable):
    """Frames in order of their value, and how many each speaker has up to each of some of them."""

    STEP = 1024

    def __init__(
        self, values: Floats, codes: NDArray[np.intp], speakers: tuple[str, ...], q: float
    ) -> None:
        self.speakers = speakers
        self.frames = len(values)
        self.q = q
        order = np.argsort(values, kind="stable")
        blocks = -(-len(values) // self.STEP)
        self.sorted = values[order]
        # The last block is filled up by a speaker that weighs nothing.
        filled = np.full(blocks * self.STEP, len(speakers))
        filled[: len(values)] = codes[order]
        self.codes = filled.reshape(blocks, self.STEP)
        counts = np.zeros((blocks, len(speakers) + 1))
        np.add.at(counts, (np.arange(blocks)[:, None], self.codes), 1.0)
        self.up_to = counts[:, :-1].cumsum(0)

    def values(self, weights: Floats) -> Floats:
        figures = np.full(len(weights), np.nan)
        if not self.frames:
            return figures
        reached = weights @ self.up_to.T
        wanted = self.q * reached[:, -1]
        some = reached[:, -1] > 0
        lower = self._first(weights, reached, wanted, np.less)
        upper = self._first(weights, reached, wanted, np.less_equal)
        figures[some] = _middle(lower, upper)[some]
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
        found: Floats = self.sorted[np.minimum(frame, self.frames - 1)]
        return found


def _sums(
    terms: Sequence[Floats],
    speaker: NDArray[np.integer],
    speakers: Sequence[str],
    formula: Callable[..., Floats],
) -> SpeakerTable:
    """Count and sums of the terms [N] per speaker."""
    names, codes = _with_frames(speaker, speakers)
    sums = np.empty((len(names), 1 + len(terms)))
    sums[:, 0] = np.bincount(codes, minlength=len(names))
    for number, term in enumerate(terms, start=1):
        with np.errstate(invalid="ignore", over="ignore"):
            sums[:, number] = np.bincount(codes, term, len(names))
    return _SumTable(names, len(codes), sums, formula)


def _with_frames(
    speaker: NDArray[np.integer], speakers: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The speakers that have frames, and the code of each frame among them."""
    present = np.bincount(speaker, minlength=len(speakers)) > 0
    codes = (present.cumsum() - 1)[speaker]
    return tuple(speakers[g] for g in np.flatnonzero(present).tolist()), codes


def _column(columns: Columns, name: str) -> Floats:
    return np.asarray(columns[name], dtype=np.float64)


def _truth_and_error(columns: Columns, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """The truth around one of its values, which keeps its digits, and truth minus prediction."""
    truth, predicted = (_column(columns, name) for name in names)
    with np.errstate(invalid="ignore"):
        return truth - _origin(truth), truth - predicted


def _origin(values: Floats) -> float:
    """The first finite value: a constant then has no spread, exactly."""
    finite = np.isfinite(values)
    return float(values[finite.argmax()]) if finite.any() else 0.0


def _explained(error: Floats, spread: Floats) -> Floats:
    return np.where(spread > 0.0, 1.0 - error / np.where(spread > 0.0, spread, 1.0), np.nan)


def _spread(n: Floats, total: Floats, squares: Floats) -> Floats:
    """The sum of squared deviations; what rounding leaves of none is 0."""
    spread = squares - total * total / n
    return np.where(spread > ROUNDING * squares, spread, np.where(np.isnan(spread), np.nan, 0.0))


def _middle(lower: Floats, upper: Floats) -> Floats:
    """The mean of both; equal ones, infinite ones too, as they are."""
    with np.errstate(invalid="ignore"):
        return np.where(lower == upper, lower, lower + (upper - lower) / 2)
