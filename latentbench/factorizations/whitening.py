"""The coordinates in which factorisations are fitted and nats counted; least squares in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import UsageError
from latentbench.latents.transform import moments, principal_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from latentbench.latents import Latents

__all__ = ["Whitening", "regression", "windows"]


@dataclass(frozen=True)
class Whitening:
    """u = (x - mean) @ into, the principal components of train of unit variance; x = mean + u back.

    The directions are those that the transform `pca` keeps with `whiten`, by variance.

    Attributes:
        mean: [D].
        into: [D, K].
        back: [K, D].
    """

    mean: torch.Tensor
    into: torch.Tensor
    back: torch.Tensor

    @classmethod
    def fitted(cls, latents: Latents, train: Sequence[int], keep: float) -> Self:
        """Of the train frames, with the directions of more than `keep` of the largest variance."""
        mean, values, vectors = principal_axes(latents, train, keep)
        root = np.sqrt(values)
        return cls(*map(_float32, (mean, vectors / root, (vectors * root).T)))

    @classmethod
    def standardising(cls, latents: Latents, train: Sequence[int]) -> Self:
        """Each dimension by itself: of mean 0 and unit variance over the train frames."""
        mean, covariance = moments(latents, train)
        deviation = np.sqrt(np.diag(covariance))
        deviation = np.where(deviation > 0, deviation, 1.0)
        return cls(*map(_float32, (mean, np.diag(1 / deviation), np.diag(deviation))))

    @classmethod
    def restored(cls, state: Mapping[str, torch.Tensor]) -> Self:
        """From what `state` gave."""
        return cls(state["mean"], state["into"], state["back"])

    @property
    def kept(self) -> int:
        """K."""
        return int(self.into.shape[1])

    def require_directions(self) -> None:
        """Refuse latents that stand still.

        Raises:
            UsageError: no direction varies.
        """
        if not self.kept:
            raise UsageError(
                "The train latents do not vary, so there is nothing to factorise.",
                "Look at the encoder and its weights: every frame is the same.",
            )

    def state(self) -> dict[str, torch.Tensor]:
        """Its three tensors by name."""
        return {"mean": self.mean, "into": self.into, "back": self.back}

    def whiten(self, frames: torch.Tensor) -> torch.Tensor:
        """[T, D] to [T, K]."""
        return (frames - self.mean) @ self.into

    def colour(self, whitened: torch.Tensor) -> torch.Tensor:
        """[T, K] to [T, D]."""
        return self.mean + whitened @ self.back


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


def _float32(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
