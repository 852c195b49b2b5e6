r"""Orthogonal projections of the whitened latents: by predictability, by variance, at random.

In whitened coordinates u every direction has variance 1, so the gain in nats of a direction v is
\(-\frac12 \ln v^\top R v\), with R the covariance of what a linear prediction of u_t from the past
leaves. The directions of most gain are the eigenvectors of R of the smallest eigenvalues; in x
they are the generalised eigenvectors of the covariance against R (predictable components:
Box & Tiao, Biometrika 1977; DelSole & Tippett, Reviews of Geophysics 2007).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import UsageError
from latentbench.factorizations.factorization import Account, Factorization
from latentbench.factorizations.whitening import Whitening, regression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.factorizations.factorization import Fitting
    from latentbench.factorizations.plugin import (
        LinearOptions,
        ProjectionOptions,
        RandomOptions,
    )
    from latentbench.latents import Latents

__all__ = ["Linear", "Principal", "Projection", "Random"]

LOG_2PI = math.log(2 * math.pi)


class Projection(Factorization):
    """z_dyn = the whitened latents along the first d columns of `basis`, orthonormal [K, K]."""

    whitening: Whitening
    basis: torch.Tensor

    def __init__(self, options: ProjectionOptions) -> None:
        self.options = options

    @property
    def dim(self) -> int:
        """The option `dim`."""
        return self.options.dim

    def fit(self, latents: Latents, train: Sequence[int], fitting: Fitting) -> None:
        """Learn the whitening and the directions.

        Raises:
            UsageError: there are fewer directions than dimensions asked for.
        """
        del fitting
        self.whitening = Whitening.fitted(latents, train, self.options.keep)
        self.whitening.require_directions()
        kept = self.whitening.kept
        if self.dim > kept:
            raise UsageError(
                f"factorization.dim={self.dim} was asked for, but the train latents have {kept} of "
                f"{latents.dim} directions with more than {self.options.keep:g} of the largest "
                "variance.",
                f"Use at most {kept}.",
            )
        basis = self.directions(latents, train)
        self.basis = torch.from_numpy(np.ascontiguousarray(basis)).float()

    @abstractmethod
    def directions(self, latents: Latents, train: Sequence[int]) -> NDArray[np.float64]:
        """An orthonormal basis of the whitened latents, [K, K], the d directions wanted first."""

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The projection of every frame."""
        return self.whitening.whiten(frames) @ self.basis[:, : self.dim]

    def decode(self, states: torch.Tensor) -> torch.Tensor:
        """The frames of least squared error: those whose other directions are at their mean."""
        return self.whitening.colour(states @ self.basis[:, : self.dim].T)

    def state(self) -> Mapping[str, torch.Tensor]:
        """The whitening and the basis."""
        return {**self.whitening.state(), "basis": self.basis}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""
        self.whitening = Whitening.restored(state)
        self.basis = state["basis"]

    def account(self, frames: torch.Tensor) -> Account:
        """The other directions as independent standard Gaussians, which they are on train."""
        whitened = self.whitening.whiten(frames)
        rest = whitened @ self.basis[:, self.dim :]
        nats = 0.5 * (rest.square() + LOG_2PI).sum(-1)
        return Account(nats, self.whitening.colour(whitened))


class Linear(Projection):
    """The directions that a linear prediction from the past gains most on."""

    options: LinearOptions

    def directions(self, latents: Latents, train: Sequence[int]) -> NDArray[np.float64]:
        """Eigenvectors of the one-step residual covariance, the smallest eigenvalue first.

        Raises:
            UsageError: there are too few frames for the prediction.
        """
        residual = regression(self.whitening, latents, train, self.options.lags)[1]
        return np.asarray(np.linalg.eigh(residual)[1])


class Principal(Projection):
    """The directions of most variance."""

    def directions(self, latents: Latents, train: Sequence[int]) -> NDArray[np.float64]:
        """The axes: whitened latents are ordered by variance."""
        del latents, train
        return np.eye(self.whitening.kept)


class Random(Projection):
    """Directions of a random rotation."""

    options: RandomOptions

    def directions(self, latents: Latents, train: Sequence[int]) -> NDArray[np.float64]:
        """A rotation drawn uniformly by the seed (Stewart 1980)."""
        del latents, train
        kept = self.whitening.kept
        drawn = np.random.default_rng(self.options.seed).standard_normal((kept, kept))
        q, r = np.linalg.qr(drawn)
        return np.asarray(q * np.sign(np.diag(r)))
