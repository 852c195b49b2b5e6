r"""Intervals of figures and of their differences, by resampling speakers.

Frames of one speaker are alike, so the speakers are the sample: G of them are drawn with
replacement, B = 2,000 times, and the figure is computed anew each time from per-speaker sums.
Two figures are compared on the same draws (paired), which cancels what they share.

**Which interval.** With few speakers the plain percentile interval is too short: drawing G of G
understates the variance by (G-1)/G and knows nothing of Student's t. Expanded percentiles
(Hesterberg 2015, section 4.3) put both right: the bounds are the quantiles of the draws at
\(\Phi(\mp t_{G-1} \sqrt{G/(G-1)})\). Below 8 speakers there are too few different draws for
that (4 speakers: 35), and the interval is value ± t_{G-1} times the jackknife's standard error.
So it is for tables that are `costly`: G + 1 passes over the frames instead of 2,000.
Simulated coverage of the nominal 95 % is in docs/uncertainty.md. With one speaker there is no
interval: nan, and `note` says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from latentbench.metrics.statistics import SpeakerTable

    Figure: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Difference",
    "Estimate",
    "difference",
    "difference_apart",
    "estimate",
    "known",
    "seed_error",
    "standard_error",
]

LEVEL = 0.95
RESAMPLES = 2_000
SEED = 0

# From here on a bootstrap covers at least as well as the jackknife (docs/uncertainty.md).
BOOTSTRAP_SPEAKERS = 8
BLOCK = 256
ONE_SPEAKER = "one speaker: how speakers differ is unknown"
NO_SPEAKER = "no frames"
NO_NUMBER = "not finite for some choice of speakers"


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is of the speakers it is from.

    Attributes:
        value: over all frames.
        low: lower bound of the interval; nan where there is none.
        high: upper bound.
        standard_error: by the jackknife over speakers.
        speakers: G.
        method: `bootstrap` (expanded percentiles), `jackknife` (below 8 speakers, or a table
            that is costly), `welch` (`difference_apart`), or `none`.
        note: why there is no interval; empty where there is.
    """

    value: float
    low: float
    high: float
    standard_error: float
    speakers: int
    method: Literal["bootstrap", "jackknife", "welch", "none"]
    note: str = ""


@dataclass(frozen=True)
class Difference(Estimate):
    """The first figure minus the second over the speakers both have, drawn together.

    Attributes:
        left_out: speakers that only one of them has.
    """

    left_out: int = 0

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval excludes 0; None where there is no interval."""
        if math.isnan(self.low) or math.isnan(self.high):
            return None
        return self.low > 0.0 or self.high < 0.0


def estimate(
    table: SpeakerTable, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate:
    """Compute a figure and its interval.

    Args:
        table: of the figure.
        level: of the interval.
        resamples: B.
        seed: of the draws; the same draws are used for every table of as many speakers.
    """
    draws = None if table.costly else (resamples, seed)
    return _estimate(table.values, len(table.speakers), level, draws)


def difference(
    first: SpeakerTable, second: SpeakerTable, *, resamples: int = RESAMPLES
) -> Difference:
    """Compute the difference of two figures, paired by speaker.

    Only speakers that both have are counted, each with all its frames in either.
    """
    theirs = set(second.speakers)
    common = [speaker for speaker in first.speakers if speaker in theirs]
    sides = [_on(table, common) for table in (first, second)]

    def apart(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return sides[0](weights) - sides[1](weights)

    draws = None if first.costly or second.costly else (resamples, SEED)
    found = _estimate(apart, len(common), LEVEL, draws)
    return Difference(
        **vars(found), left_out=len(first.speakers) + len(second.speakers) - 2 * len(common)
    )


def difference_apart(first: SpeakerTable, second: SpeakerTable) -> Difference:
    """Compute the difference of two figures of different speakers: independent samples.

    The squares of both standard errors, by the jackknife, add up, and Student's t has the degrees
    of freedom of Welch (1947) and Satterthwaite (1946), rounded down.
    """
    one, other = estimate(first), estimate(second)
    value = one.value - other.value
    squares = [one.standard_error**2, other.standard_error**2]
    error = math.sqrt(sum(squares))
    speakers = one.speakers + other.speakers
    if note := one.note or other.note:
        return Difference(value, math.nan, math.nan, error, speakers, "none", note)
    if not math.isfinite(error):
        return Difference(value, math.nan, math.nan, error, speakers, "none", NO_NUMBER)
    freedom = min(one.speakers, other.speakers) - 1
    if error:
        spread = squares[0] ** 2 / (one.speakers - 1) + squares[1] ** 2 / (other.speakers - 1)
        freedom = max(freedom, int(error**4 / spread))
    reach = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    return Difference(value, value - reach, value + reach, error, speakers, "welch")


def known(value: float) -> float | None:
    """A number of an estimate as records hold it: None where there is none."""
    return None if math.isnan(value) else value


def seed_error(tables: Sequence[SpeakerTable]) -> float:
    """Standard error of a mean over seeds, the speakers being these.

    It is nan for one seed, and where a figure is not finite.

    It tells chance in training from the choice of speakers, of which `estimate(SeedMean(tables))`
    has the standard error.

    Args:
        tables: of one cell, one per seed.
    """
    if len(tables) < 2:  # noqa: PLR2004 - one seed does not differ from itself
        return math.nan
    per_seed = [table.values(np.ones((1, len(table.speakers))))[0] for table in tables]
    if not np.isfinite(per_seed).all():
        return math.nan
    return float(np.std(per_seed, ddof=1)) / math.sqrt(len(tables))


def standard_error(table: SpeakerTable) -> float:
    """Of a figure over speakers, by the jackknife: from those without each in turn."""
    return _jackknife_error(table.values, len(table.speakers))


def _estimate(figure: Figure, size: int, level: float, draws: tuple[int, int] | None) -> Estimate:
    """By `draws`, resamples and seed, or where there are to be none by the jackknife."""
    value = float(figure(np.ones((1, size)))[0])
    error = _jackknife_error(figure, size)
    if size < 2:  # noqa: PLR2004 - one speaker does not differ from itself
        note = ONE_SPEAKER if size else NO_SPEAKER
        return Estimate(value, math.nan, math.nan, error, size, "none", note)
    t = float(stdtrit(size - 1, 0.5 + level / 2))
    if draws is None or size < BOOTSTRAP_SPEAKERS:
        method: Literal["bootstrap", "jackknife"] = "jackknife"
        low, high = value - t * error, value + t * error
    else:
        method = "bootstrap"
        tail = NormalDist().cdf(-t * math.sqrt(size / (size - 1)))
        low, high = _tails(_resampled(figure, _draws(size, *draws)), tail)
    if math.isnan(low) or math.isnan(high):
        return Estimate(value, math.nan, math.nan, error, size, "none", NO_NUMBER)
    return Estimate(value, low, high, error, size, method)


@lru_cache(maxsize=4)
def _draws(size: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each speaker is in each resample, [B, G]."""
    chances = np.full(size, 1.0 / size)
    drawn = np.random.default_rng(seed).multinomial(size, chances, resamples).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def _resampled(figure: Figure, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    blocks = [figure(weights[start : start + BLOCK]) for start in range(0, len(weights), BLOCK)]
    return np.concatenate(blocks)


def _tails(values: NDArray[np.float64], tail: float) -> tuple[float, float]:
    """The values at both tails; resamples may be infinite, so none are interpolated."""
    if np.isnan(values).any():
        return math.nan, math.nan
    ordered = np.sort(values)
    cut = min(int(tail * len(ordered)), (len(ordered) - 1) // 2)
    return float(ordered[cut]), float(ordered[-1 - cut])


def _jackknife_error(figure: Figure, size: int) -> float:
    """The standard error from the figures without each speaker in turn."""
    if size < 2:  # noqa: PLR2004 - nothing is left without the only speaker
        return math.nan
    without = _resampled(figure, 1.0 - np.eye(size))
    if not np.isfinite(without).all():
        return math.nan
    return math.sqrt((size - 1) * float(without.var()))


def _on(table: SpeakerTable, speakers: Sequence[str]) -> Figure:
    """The figure as a function of the weights of some of its speakers, in another order."""
    place = {speaker: number for number, speaker in enumerate(table.speakers)}
    index = np.array([place[speaker] for speaker in speakers], dtype=np.intp)

    def figure(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        every = np.zeros((len(weights), len(table.speakers)))
        every[:, index] = weights
        return table.values(every)

    return figure
