r"""Predictable components: what a linear prediction gains, direction by direction.

In whitened coordinates \(u\) a prediction leaves residuals of covariance R. Along its eigenvectors
residuals are uncorrelated, so that gains add up (Box & Tiao, Biometrika 1977; DelSole & Tippett,
Reviews of Geophysics 2007). Whitening, prediction and R are those of train; a frame of eval gains
\(\frac12 (u_i^2 - r_i^2 / R_i - \ln R_i)\) nats along direction i.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.cards.card import Predictable
from latentbench.factorizations.whitening import Whitening, regression, windows
from latentbench.metrics.statistics import Mean
from latentbench.results.uncertainty import estimate, known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.latents.latents import Latents
    from latentbench.results.uncertainty import Estimate

__all__ = ["gain_at", "predictable"]

KEEP = 1e-6  # of the largest variance: directions of less are noise of float32
STALENESS_MS = (80.0, 160.0, 320.0, 640.0)
CONTEXT_MS = 160.0
FRAMES_A_WEIGHT = 100  # of train, below which the context is shortened, to one frame at last
LEAST_FRAMES = 20  # likewise for that one
LEAST_RESIDUAL = 1e-10  # variance of what is left of a direction, where nothing is


def predictable(latents: Latents, sides: Mapping[str, Sequence[int]]) -> tuple[Predictable, ...]:
    """The gain at one frame of staleness, and at 80 to 640 ms.

    Args:
        latents: as encoded.
        sides: utterances of `train` and `eval`.

    Returns:
        Nothing where there are too few frames to fit on, or none to measure on.
    """
    whitening = Whitening.fitted(latents, sides["train"], KEEP)
    frames = sum(latents.utterances[index].frames for index in sides["train"])
    if not whitening.kept or frames < LEAST_FRAMES * whitening.kept:
        return ()
    most = frames // (FRAMES_A_WEIGHT * whitening.kept)
    context = max(1, min(most, round(CONTEXT_MS * latents.frame_rate / 1e3)))
    found = (gain_at(whitening, latents, sides, context, k) for k in _staleness(latents))
    return tuple(one for one in found if one is not None)


def gain_at(
    whitening: Whitening,
    latents: Latents,
    sides: Mapping[str, Sequence[int]],
    context: int,
    horizon: int,
) -> Predictable | None:
    """The gain at one staleness; None where eval, or train, has no or too few frames for it.

    Args:
        whitening: fitted on train.
        latents: as encoded.
        sides: utterances of `train` and `eval`.
        context: frames that the prediction sees.
        horizon: k.
    """
    weights = 1 + context * whitening.kept
    if _count(latents, sides["train"], context, horizon) <= weights:
        return None
    solved, residual = regression(whitening, latents, sides["train"], context, horizon)
    values, vectors = np.linalg.eigh(residual)
    values = values.clip(LEAST_RESIDUAL)
    gains, nats, speakers = np.zeros(len(values)), [], []
    for index in sides["eval"]:
        for past, now in windows(whitening, latents, [index], context, horizon):
            left = np.square((now - past @ solved) @ vectors) / values
            each = 0.5 * (np.square(now @ vectors) - left - np.log(values))
            gains += each.sum(0)
            nats.append(each.sum(1))
            speakers += [latents.utterances[index].speaker] * len(now)
    if not nats:
        return None
    ordered = np.sort(gains / len(speakers))[::-1]
    ms = 1e3 * horizon / latents.frame_rate
    sure = _sure(np.concatenate(nats), speakers)
    return Predictable(
        frames=horizon,
        ms=ms,
        context=context,
        gain=float(ordered.sum()),
        directions=tuple(ordered.tolist()),
        low=known(sure.low),
        high=known(sure.high),
        speakers=sure.speakers,
    )


def _sure(nats: NDArray[np.float64], speakers: Sequence[str]) -> Estimate:
    """The mean over frames, as runs have it, with its interval over the speaker of each."""
    names, codes = np.unique(speakers, return_inverse=True)
    return estimate(Mean("gain").reduce({"gain": nats}, codes, names.tolist()))


def _count(latents: Latents, side: Sequence[int], context: int, horizon: int) -> int:
    first = context - 1 + horizon
    return sum(max(0, latents.utterances[index].frames - first) for index in side)


def _staleness(latents: Latents) -> Iterator[int]:
    """One frame, and the times in frames, each once."""
    times = (round(ms * latents.frame_rate / 1e3) for ms in STALENESS_MS)
    yield from sorted({1, *(k for k in times if k)})
