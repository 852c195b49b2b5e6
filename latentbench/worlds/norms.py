r"""Norms, cosines and log-norms of Gaussian vectors, by integrals that converge exponentially.

m (a conditional mean) and y (its target) are a finite mixture of Gaussians in R^{2D}. With the
Laplace transform \(\varphi(s, t) = E\,e^{-s|m|^2 - t|y|^2}\), a determinant and an exponential,

.. math::
    E|y| = \tfrac{1}{2\sqrt\pi} \int (1 - \varphi(0, t))\, t^{-3/2}\, dt, \\
    E\cos(m, y) = \tfrac1\pi \iint (st)^{-1/2}\, E[m^T y\, e^{-s|m|^2 - t|y|^2}]\, ds\, dt, \\
    E\ln|y|^2 = \int (e^{-t} - \varphi(0, t))\, dt/t, \\
    \mathrm{Cov}(\ln|m|^2, \ln|y|^2)
        = \iint [\varphi(s, t) - \varphi(s, 0)\varphi(0, t)]\, ds\, dt/(st),

from 1/√q = π^{-1/2} ∫ s^{-1/2} e^{-sq} ds and ln q = ∫ (e^{-s} - e^{-sq}) ds/s. With s = e^u the
integrands are analytic in |Im u| < π/2 and decay at both ends, so the trapezoidal rule in u
converges exponentially: its error is of order exp(-π²/h) at step h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Block", "Mixture", "PairScores", "mean_norm", "score_pairs"]

STEP = 0.4  # exp(-π²/0.4) = 2e-11
LEFT = -46.0  # the slowest integrands decay as exp(u/2): 1e-10 is left beyond
RIGHT = 64.0  # farther than any transform lives, which falls at least as exp(-u/2)
NEGLIGIBLE = -28.0  # ln of what is cut off on the right
GRID = np.arange(LEFT, RIGHT, STEP)


@dataclass(frozen=True, eq=False)
class Block:
    """`copies` independent groups of d dimensions, each jointly Gaussian in (m, y).

    Attributes:
        covariance: [2d, 2d], m before y.
        mean: [2d].
        copies: how many such groups there are.
    """

    covariance: NDArray[np.float64]
    mean: NDArray[np.float64]
    copies: int = 1


# Weights of Gaussians, and the independent blocks that each is made of.
Mixture: TypeAlias = "Sequence[tuple[float, Sequence[Block]]]"


@dataclass(frozen=True)
class PairScores:
    """Expected cosine, and both forms of the log-magnitude R²; None where |m| is 0."""

    direction_cos: float
    logmag_r2: float | None
    logmag_r2_var: float


def mean_norm(
    variances: NDArray[np.float64], squares: NDArray[np.float64] | float = 0.0, copies: int = 1
) -> NDArray[np.float64]:
    """E|y| of Gaussians of independent dimensions, [..., n] -> [...].

    Args:
        variances: [..., n].
        squares: squared lengths of the mean along the dimensions of each variance, [..., n].
        copies: dimensions of each variance.
    """
    squares = np.broadcast_to(squares, variances.shape)
    power = (copies * variances + squares).sum(-1)  # E|y|², the unit of the grid
    s = np.exp(GRID) / power[..., None, None]
    grown = 2 * s * variances[..., None]
    shift = s * squares[..., None] / (1 + grown)
    log_transform = -(0.5 * copies * np.log1p(grown) + shift).sum(-2)
    integrand = -np.expm1(log_transform) * np.exp(-GRID / 2)
    return np.asarray(np.sqrt(power) * STEP / (2 * np.pi**0.5) * integrand.sum(-1))


def score_pairs(mixture: Mixture) -> PairScores:
    """What the metrics `direction_cos`, `logmag_r2` and `logmag_r2_var` tend to."""
    m_power, y_power = (_power(mixture, half) for half in (0, 1))
    if m_power == 0.0:
        return PairScores(0.0, None, 0.0)
    scaled = _scaled(mixture, m_power**-0.5, y_power**-0.5)
    m, y = _Norm(scaled, 0), _Norm(scaled, 1)
    joint, moment = _transform(scaled, m.grid, y.grid)
    cosine = STEP**2 / np.pi * float(m.root @ moment @ y.root)
    covariance = STEP**2 * float((joint - np.outer(m.transform, y.transform)).sum())
    # Of ln|.|² now; a quarter of it is of ln|.|, which cancels in the ratios.
    error = m.variance + y.variance - 2 * covariance
    offset = m.mean + np.log(m_power) - y.mean - np.log(y_power)
    return PairScores(
        direction_cos=cosine,
        logmag_r2=1.0 - (error + float(offset) ** 2) / y.variance,
        logmag_r2_var=1.0 - error / y.variance,
    )


def _half(block: Block, half: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance [d, d] and mean [d] of m (half 0) or y (half 1)."""
    d = len(block.mean) // 2
    here = slice(half * d, (half + 1) * d)
    return block.covariance[here, here], block.mean[here]


def _power(mixture: Mixture, half: int) -> float:
    """E|m|² or E|y|²."""
    total = 0.0
    for weight, blocks in mixture:
        for block in blocks:
            covariance, mean = _half(block, half)
            total += weight * block.copies * float(np.trace(covariance) + mean @ mean)
    return total


def _scaled(mixture: Mixture, m: float, y: float) -> Mixture:
    """The mixture with m and y multiplied by factors."""

    def scaled(block: Block) -> Block:
        by = np.repeat([m, y], len(block.mean) // 2)
        return Block(block.covariance * np.outer(by, by), block.mean * by, block.copies)

    return [(weight, [scaled(block) for block in blocks]) for weight, blocks in mixture]


class _Norm:
    """The distribution of |m|² (half 0) or |y|² (half 1) through its Laplace transform.

    Attributes:
        grid: [N], the points s = e^u.
        root: [N], s^{1/2}: s^{-1/2} ds = s^{1/2} du.
        transform: φ at the grid, [N].
        mean: of ln|.|².
        variance: of ln|.|².
    """

    def __init__(self, mixture: Mixture, half: int) -> None:
        transform = _marginal(mixture, half, np.exp(GRID))
        self.mean = STEP * float((np.exp(-np.exp(GRID)) - transform).sum())
        kept = np.searchsorted(-transform, -np.exp(NEGLIGIBLE))
        self.transform = transform[:kept]
        self.grid = np.exp(GRID[:kept])
        self.root = np.exp(GRID[:kept] / 2)
        both = _marginal(mixture, half, np.add.outer(self.grid, self.grid))
        product = np.outer(self.transform, self.transform)
        self.variance = STEP**2 * float((both - product).sum())


def _marginal(mixture: Mixture, half: int, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """φ(s, 0) or φ(0, s), of the shape of s."""
    total = np.zeros_like(s)
    for weight, blocks in mixture:
        log_value = np.zeros_like(s)
        for block in blocks:
            covariance, mean = _half(block, half)
            values, vectors = np.linalg.eigh(covariance)
            for value, shift in zip(values.clip(min=0), (mean @ vectors) ** 2, strict=True):
                grown = 1 + 2 * s * value
                log_value -= block.copies * (0.5 * np.log(grown) + s * shift / grown)
        total += weight * np.exp(log_value)
    return total


def _transform(
    mixture: Mixture, s: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """φ(s, t) and E[mᵀy e^{-s|m|²-t|y|²}] on the grid, each [S, T]."""
    joint = np.zeros((len(s), len(t)))
    moment = np.zeros_like(joint)
    for weight, blocks in mixture:
        for row, value in enumerate(s):
            log_mass, inner = np.sum([_tilted(block, value, t) for block in blocks], axis=0)
            joint[row] += weight * np.exp(log_mass)
            moment[row] += weight * np.exp(log_mass) * inner
    return joint, moment


def _tilted(
    block: Block, s: float, t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log of the mass, and E[mᵀy] under the weight, of all copies of a block, each [T].

    Under the weight e^{-s|m|²} a Gaussian N(η, Λ) stays one; with K = diag(s, 0) its covariance
    is Λ - ΛK(I/2 + ΛK)⁻¹Λ, its mean (I + 2ΛK)⁻¹η, its mass |I + 2ΛK|^{-1/2} e^{-ηᵀK(I + 2ΛK)⁻¹η}.
    So it does under e^{-t|y|²} after that, for all t at once in the eigenvectors of Cov(y).
    """
    d = len(block.mean) // 2
    matrix = np.eye(2 * d)
    matrix[:, :d] += 2 * s * block.covariance[:, :d]
    solved = np.linalg.solve(matrix, np.column_stack([block.covariance, block.mean]))
    covariance, mean = solved[:, :-1], solved[:, -1]
    log_mass = -0.5 * np.linalg.slogdet(matrix)[1] - s * (block.mean[:d] @ mean[:d])
    values, vectors = np.linalg.eigh((covariance[d:, d:] + covariance[d:, d:].T) / 2)
    shrink = 1 / (1 + 2 * t[:, None] * values.clip(min=0))  # [T, d]
    along = mean[d:] @ vectors
    log_mass = log_mass + 0.5 * np.log(shrink).sum(-1) - t * (shrink @ along**2)
    cross = covariance[:d, d:] @ vectors
    y = shrink * along
    m = mean[:d] @ vectors - 2 * t[:, None] * (y @ (vectors.T @ cross).T)
    inner = shrink @ (vectors * cross).sum(0) + (m * y).sum(-1)
    return block.copies * log_mass, block.copies * inner
