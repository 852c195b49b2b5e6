r"""Linear-Gaussian worlds: white noise, AR(1), VAR(1), and hidden states seen in noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from latentbench.errors import UsageError
from latentbench.worlds.norms import Block, PairScores, mean_norm, score_pairs
from latentbench.worlds.process import LinearProcess
from latentbench.worlds.world import LOG_2PI_E, Truth, World, diagonal_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["Factored", "LinearGaussian", "ar1", "factored", "state_space", "var", "white_noise"]

NOISE_RATIO = 4.0  # of the largest to the smallest variance of the innovations of `var`
FASTEST = 0.5  # pole of the fastest state of `state_space`, relative to that of the slowest


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearGaussian(LinearProcess, World):
    """`copies` independent copies of one linear-Gaussian process in R^d; D = copies * d.

    Attributes:
        copies: how many; copy c holds the dimensions c d .. (c + 1) d - 1.
    """

    copies: int = 1

    @property
    def dim(self) -> int:
        """D."""
        return self.copies * self.width

    def sample(self, sequences: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Stationary from the first frame on, [sequences, frames, D]."""
        count, size = sequences * self.copies, len(self.transition)
        drive, haze = _root(self.noise), _root(self.observation_noise)
        state = rng.standard_normal((count, size)) @ _root(self.state_covariance)
        found = np.empty((frames, count, self.width))
        for t in range(frames):
            if t:
                state = state @ self.transition.T + rng.standard_normal((count, size)) @ drive
            found[t] = state @ self.observation.T
        found += rng.standard_normal(found.shape) @ haze
        return np.asarray(found.reshape(frames, sequences, self.dim).transpose(1, 0, 2))

    def target_variances(self, target: Target) -> NDArray[np.float64]:
        """The diagonal of the target's covariance, copy after copy, [D]."""
        return np.tile(np.diag(self.covariance(target)), self.copies)

    def truth(self, horizon: int, context_frames: int, target: Target) -> Truth:
        """Closed forms: log-determinants."""
        found = self.conditional(horizon, context_frames, target)
        return Truth(
            nll=self.copies * _entropy(found.residual),
            nll_diagonal=self.copies * diagonal_entropy(np.diag(found.residual)),
            nll_unconditional=self.copies * _entropy(found.total),
            nll_baseline=self.copies * diagonal_entropy(np.diag(found.total)),
            energy_score=self._energy(found.residual),
            energy_score_unconditional=self._energy(found.total),
            variance_ratio=float(np.trace(found.residual) / np.trace(found.total)),
        )

    def _energy(self, covariance: NDArray[np.float64]) -> float:
        """½ E|y - y'| of Gaussians, whose difference has twice the covariance."""
        return float(mean_norm(linalg.eigvalsh(covariance), copies=self.copies) / 2**0.5)

    def direction(self, horizon: int, context_frames: int, target: Target) -> PairScores:
        """The conditional mean m and the target y = m + e have Cov(m, y) = Cov(m)."""
        found = self.conditional(horizon, context_frames, target)
        joint = np.block([[found.explained, found.explained], [found.explained, found.total]])
        return score_pairs([(1.0, [Block(joint, np.zeros(2 * self.width), self.copies)])])

    def rollout_gap(
        self, horizon: int, context_frames: int, target: Target, frames: int
    ) -> float | None:
        """By linear maps of the true frames."""
        gaps = self.mean_rollout_gaps(horizon, context_frames, target, frames)
        return self.copies * float(gaps.mean()) if gaps.size else None


def white_noise(dim: int) -> LinearGaussian:
    """Independent standard normal frames."""
    return ar1(dim, 0.0)


def ar1(dim: int, rho: float) -> LinearGaussian:
    """`dim` independent AR(1) processes of unit variance: A = rho I."""
    one = np.ones((1, 1))
    return LinearGaussian(
        transition=rho * one,
        noise=(1 - rho**2) * one,
        observation=one,
        observation_noise=0 * one,
        copies=dim,
        markov=True,
    )


def var(dim: int, fastest: float, slowest: float, rotation_seed: int) -> LinearGaussian:
    """A VAR(1), x_t = A x_{t-1} + ε_t, whose axes are those of no dimension.

    A is symmetric with eigenvalues spaced evenly from `fastest` to `slowest` along one random
    rotation, the innovations have variances from 1 to 4 along another: neither covariance nor
    residual is diagonal, and they do not commute.
    """
    turn, other = _rotation(dim, rotation_seed), _rotation(dim, rotation_seed + 1)
    return LinearGaussian(
        transition=(turn * np.linspace(fastest, slowest, dim)) @ turn.T,
        noise=(other * np.geomspace(1.0, NOISE_RATIO, dim)) @ other.T,
        observation=np.eye(dim),
        observation_noise=np.zeros((dim, dim)),
        markov=True,
    )


def state_space(dim: int, rho: float, noise: float, rotation_seed: int) -> LinearGaussian:
    """As many AR(1) states of unit variance as dimensions, rotated, seen in noise.

    x is ARMA(1, 1)-like and not Markov: every frame of the context counts.

    Args:
        dim: D.
        rho: autocorrelation of the slowest state; the others go down to half of it.
        noise: standard deviation of the observation noise.
        rotation_seed: of the rotation.
    """
    poles = rho * np.linspace(FASTEST, 1.0, dim)
    return LinearGaussian(
        transition=np.diag(poles),
        noise=np.diag(1 - poles**2),
        observation=_rotation(dim, rotation_seed),
        observation_noise=noise**2 * np.eye(dim),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Factored(LinearGaussian):
    """x = M [s; τ r]: d predictable dimensions s beside q of innovation r, M orthogonal.

    NLL(x | past) = NLL(s | past) + h(τ r): no factorisation can lower the total rate.

    Attributes:
        predictable: d.
        tau: τ.
    """

    predictable: int
    tau: float

    @property
    def basis(self) -> NDArray[np.float64]:
        """The columns of M that carry s, [D, d]."""
        return self.observation[:, : self.predictable]

    @property
    def innovation_entropy(self) -> float:
        """h(τ r), nats."""
        return diagonal_entropy(np.full(self.dim - self.predictable, self.tau**2))

    def least_error(self, budget: float) -> float:
        """The least squared error of x when r is told with `budget` nats: q τ² e^{-2B/q}.

        The distortion-rate function of a Gaussian source (Cover & Thomas, section 10.3).
        """
        q = self.dim - self.predictable
        return float(q * self.tau**2 * np.exp(-2 * budget / q))


def factored(dim: int, predictable: int, rho: float, tau: float, rotation_seed: int) -> Factored:
    """A state s of independent AR(1) of unit variance, and r white in the other dimensions.

    Raises:
        UsageError: there would be no innovation.
    """
    if predictable >= dim:
        raise UsageError(
            f"A factored world of dim={dim} has no room for predictable={predictable} "
            "dimensions beside its innovation.",
            f"Give fewer than {dim}.",
        )
    of_state = np.arange(dim) < predictable
    return Factored(
        transition=np.diag(np.where(of_state, rho, 0.0)),
        noise=np.diag(np.where(of_state, 1 - rho**2, tau**2)),
        observation=_rotation(dim, rotation_seed),
        observation_noise=np.zeros((dim, dim)),
        markov=True,
        predictable=predictable,
        tau=tau,
    )


def _rotation(dim: int, seed: int) -> NDArray[np.float64]:
    """An orthogonal matrix [dim, dim], uniform over all (Stewart 1980)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    return np.asarray(q * np.sign(np.diag(r)))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root; unlike Cholesky's, it is there for singular covariances."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(min=0))) @ vectors.T)


def _entropy(covariance: NDArray[np.float64]) -> float:
    return 0.5 * float(np.linalg.slogdet(covariance)[1]) + 0.5 * len(covariance) * LOG_2PI_E
