"""Moments of latents: levels, directions, memory, and what speakers make of the variance."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from latentbench.cards.card import Lag, Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.latents.latents import Latents

__all__ = ["effective_rank", "participation_ratio", "sample", "speaker_share", "statistics_of"]

MOST_VALUES = 2**23  # frames times dimensions that are looked at
LEAST_LAGS = 8
SECONDS_OF_LAGS = 1.0
GAUSSIAN = 3.0  # kurtosis


def sample(latents: Latents, side: Sequence[int], values: int = MOST_VALUES) -> list[int]:
    """Evenly spaced utterances of a side, that hold about so many values at most."""
    held = latents.dim * sum(latents.utterances[index].frames for index in side)
    step = max(1, -(-held // values))
    return list(side)[::step]


def statistics_of(latents: Latents, side: Sequence[int]) -> Statistics:
    """The statistics of some utterances, as indices into `latents.utterances`; at least one."""
    rows = [latents.utterance(index).double().numpy() for index in side]
    spans = [latents.utterances[index] for index in side]
    everything = np.concatenate(rows)
    mean = everything.mean(0)
    low, high, total = everything.min(), everything.max(), everything.mean()
    norms = np.linalg.norm(everything, axis=1)
    spread = float(np.sqrt(np.square(everything - total).mean()))
    everything -= mean
    centred = np.split(everything, np.cumsum([len(one) for one in rows])[:-1])
    variances = np.square(everything).mean(0)
    shares = _spectrum(everything)
    moves = [np.linalg.norm(np.diff(one, axis=0), axis=1) for one in rows]
    moves_ = np.concatenate(moves)
    whole = float(variances.sum())
    return Statistics(
        utterances=len({one.id for one in spans}),
        speakers=len({one.speaker for one in spans}),
        frames=len(everything),
        seconds=len(everything) / latents.frame_rate,
        mean=float(total),
        std=spread,
        low=float(low),
        high=float(high),
        dim_mean=tuple(mean.tolist()),
        dim_std=tuple(np.sqrt(variances).tolist()),
        dim_kurtosis=_kurtosis(everything, variances),
        spectrum=tuple(shares.tolist()),
        effective_rank=effective_rank(shares),
        participation_ratio=participation_ratio(shares),
        norm=float(norms.mean()),
        norm_std=float(norms.std()),
        move=float(moves_.mean()) if len(moves_) else None,
        move_share=_root_ratio(moves_, whole),
        autocorrelation=_autocorrelation(centred, whole, latents.frame_rate),
        speaker_share=speaker_share(
            _utterance_means(centred, [one.id for one in spans]),
            {one.id: one.speaker for one in spans},
            whole,
        ),
    )


def effective_rank(shares: NDArray[np.float64]) -> float | None:
    """Exp of the entropy of shares that sum to 1 (Roy & Vetterli, EUSIPCO 2007)."""
    positive = shares[shares > 0]
    return float(np.exp(-(positive * np.log(positive)).sum())) if len(positive) else None


def participation_ratio(shares: NDArray[np.float64]) -> float | None:
    """1 over the sum of squared shares: n where n directions have the same variance."""
    return float(1 / np.square(shares).sum()) if shares.any() else None


def speaker_share(
    means: Mapping[str, NDArray[np.float64]], speakers: Mapping[str, str], variance: float
) -> float | None:
    """Variance between speakers over all variance; never below 0.

    Speakers that do not differ get 0 but for chance: what utterances of one speaker differ by is
    taken off, which the plain share of the means of speakers would count.

    Args:
        means: of the frames of each utterance, [D].
        speakers: of each utterance.
        variance: of all frames, the sum over dimensions.

    Returns:
        None without two speakers, one of them of two utterances, or without variance.
    """
    of: defaultdict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for one, mean in means.items():
        of[speakers[one]].append(mean)
    sizes = np.array([len(one) for one in of.values()], dtype=np.float64)
    utterances, groups = sizes.sum(), len(sizes)
    if groups < 2 or utterances == groups or not variance:  # noqa: PLR2004 - two to differ
        return None
    grand = np.mean(list(means.values()), 0)
    centres = [np.mean(one, 0) for one in of.values()]
    between = sum(
        size * float(np.square(one - grand).sum()) for size, one in zip(sizes, centres, strict=True)
    ) / (groups - 1)
    within = sum(
        float(np.square(np.array(one) - centre).sum())
        for one, centre in zip(of.values(), centres, strict=True)
    ) / (utterances - groups)
    size = (utterances - np.square(sizes).sum() / utterances) / (groups - 1)
    return max(0.0, float((between - within) / size / variance))


def _spectrum(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eigenvalues of the covariance over their sum, largest first; zeros where it is 0."""
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1].clip(0)
    return np.asarray(values / (values.sum() or 1.0))


def _kurtosis(
    centred: NDArray[np.float64], variances: NDArray[np.float64]
) -> tuple[float | None, ...]:
    fourth = (centred**4).mean(0)
    return tuple(
        float(one / square**2 - GAUSSIAN) if square else None
        for one, square in zip(fourth, variances, strict=True)
    )


def _root_ratio(moves: NDArray[np.float64], variance: float) -> float | None:
    return float(np.sqrt(np.square(moves).mean() / variance)) if len(moves) and variance else None


def _autocorrelation(
    centred: Sequence[NDArray[np.float64]], variance: float, rate: float
) -> tuple[Lag, ...]:
    """By lag, each over all pairs of frames so far apart in one utterance."""
    lags = range(1, max(LEAST_LAGS, round(SECONDS_OF_LAGS * rate)) + 1)
    return tuple(Lag(lag, 1e3 * lag / rate, _correlation(centred, lag, variance)) for lag in lags)


def _correlation(centred: Iterable[NDArray[np.float64]], lag: int, variance: float) -> float | None:
    pairs = [(one[:-lag], one[lag:]) for one in centred if len(one) > lag]
    count = sum(len(one) for one, _ in pairs)
    if not count or not variance:
        return None
    return sum(float(np.vdot(one, other)) for one, other in pairs) / count / variance


def _utterance_means(
    rows: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Of all stretches of each utterance together."""
    parts: defaultdict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for name, one in zip(names, rows, strict=True):
        parts[name].append(one)
    return {name: np.concatenate(found).mean(0) for name, found in parts.items()}
