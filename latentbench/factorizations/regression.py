"""Least squares of whitened frames on the frames before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from latentbench.factorizations.whitening import Whitening
    from latentbench.latents import Latents

__all__ = ["regression", "windows"]


def regression(
    whitening: Whitening, latents: Latents, side: Sequence[int], lags: int, horizon: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights of one and the past, [1 + lags K, K], and the residual covariance [K, K].

    Args:
        whitening: of the latents, to K directions.
        latents: where the frames are.
        side: utterances that are fitted on.
        lags: frames of the past.
        horizon: k, the staleness of the newest of them.

    Raises:
        UsageError: there are no more windows than weights of a direction.
    """
    kept = whitening.kept
    past = np.zeros((1 + lags * kept, 1 + lags * kept))
    both = np.zeros((1 + lags * kept, kept))
    present = np.zeros((kept, kept))
    count = 0
    for before, now in windows(whitening, latents, side, lags, horizon):
        past += before.T @ before
        both += before.T @ now
        present += now.T @ now
        count += len(now)
    if count <= len(past):
        raise UsageError(
            f"linear predicts a frame from {lags} frames of {kept} dimensions, and train has "
            f"only {count} frames with so many before them.",
            "Use more utterances, or fewer lags: --set factorization.lags=1.",
        )
    solved = np.asarray(np.linalg.lstsq(past, both, rcond=None)[0], np.float64)
    residual = (present - both.T @ solved) / (count - len(past))
    return solved, np.asarray((residual + residual.T) / 2)


def windows(
    whitening: Whitening, latents: Latents, side: Sequence[int], lags: int, horizon: int = 1
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """One and the whitened past [n, 1 + lags K], newest first, and the present [n, K].

    Of each utterance in turn; arguments as of `regression`.
    """
    first = lags - 1 + horizon
    for index in side:
        rows = whitening.whiten(latents.utterance(index)).double().numpy()
        if (count := len(rows) - first) > 0:
            past = [rows[lags - 1 - age : lags - 1 - age + count] for age in range(lags)]
            yield np.concatenate([np.ones((count, 1)), *past], 1), rows[first:]
