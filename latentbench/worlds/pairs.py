r"""Direction and magnitude of a conditional mean m beside its target y, by exact integrals.

(m, y) is a finite mixture of Gaussians in R^{2D}. With the Laplace transform
\(\varphi(s, t) = E\,e^{-s|m|^2 - t|y|^2}\), which is a determinant and an exponential,

.. math::
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
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Block", "Component", "PairScores", "score_pairs"]

STEP = 0.4  # exp(-π²/0.4) = 2e-11
LEFT = -46.0  # the cosine's integrand decays as exp(u/2): 1e-10 is left beyond
RIGHT = 64.0  # farther than any transform lives, which falls at least as exp(-u/2)
NEGLIGIBLE = -28.0  # ln of what is cut off on the right


@dataclass(frozen=True, eq=False)
class Block:
    """`copies` independent groups of dimensions, each jointly Gaussian in (m, y).

    Attributes:
        covariance: [2d, 2d], m before y.
        mean: [2d].
        copies: how many such groups there are.
    """

    covariance: NDArray[np.float64]
    mean: NDArray[np.float64]
    copies: int = 1


@dataclass(frozen=True, eq=False)
class Component:
    """One Gaussian of the mixture: its weight, and independent blocks of dimensions."""

    weight: float
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PairScores:
    """Expected cosine, and both forms of the log-magnitude R²; None where |m| is 0."""

    direction_cos: float
    logmag_r2: float | None
    logmag_r2_var: float


def score_pairs(components: Sequence[Component]) -> PairScores:
    """What the metrics `direction_cos`, `logmag_r2` and `logmag_r2_var` tend to."""
    m_power, y_power = (_power(components, half) for half in (0, 1))
    if m_power == 0.0:
        return PairScores(0.0, None, 0.0)
    scaled = [_scaled(one, m_power**-0.5, y_power**-0.5) for one in components]
    m, y = _Norm(scaled, 0), _Norm(scaled, 1)
    joint, moment = _transform(scaled, m.grid, y.grid)
    cosine = STEP**2 / np.pi * float(m.root @ moment @ y.root)
    covariance = STEP**2 * float((joint - np.outer(m.transform, y.transform)).sum())
    # Of ln|.|² now; a quarter of it is of ln|.|, which cancels in the ratios.
    spread = y.variance
    error = m.variance + y.variance - 2 * covariance
    offset = m.mean + np.log(m_power) - y.mean - np.log(y_power)
    return PairScores(
        direction_cos=cosine,
        logmag_r2=1.0 - (error + float(offset) ** 2) / spread,
        logmag_r2_var=1.0 - error / spread,
    )


class _Norm:
    """The distribution of |m|² (half 0) or |y|² (half 1) through its Laplace transform.

    Attributes:
        grid: [N], the points s = e^u.
        root: [N], s^{1/2}: s^{-1/2} ds = s^{1/2} du.
        transform: φ at the grid, [N].
        mean: of ln|.|².
        variance: of ln|.|².
    """

    def __init__(self, components: Sequence[Component], half: int) -> None:
        self._parts = [
            (one.weight, [_spectrum(block, half) for block in one.blocks]) for one in components
        ]
        u = np.arange(LEFT, RIGHT, STEP)
        transform = self._at(np.exp(u))
        kept = np.searchsorted(-transform, -np.exp(NEGLIGIBLE))
        u, self.transform = u[:kept], transform[:kept]
        self.grid = np.exp(u)
        self.root = np.exp(u / 2)
        self.mean = STEP * float((np.exp(-np.exp(np.arange(LEFT, RIGHT, STEP))) - transform).sum())
        both = self._at(np.add.outer(self.grid, self.grid))
        product = np.outer(self.transform, self.transform)
        self.variance = STEP**2 * float((both - product).sum())

    def _at(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros_like(s)
        for weight, spectra in self._parts:
            log_value = np.zeros_like(s)
            for values, shifts, copies in spectra:
                for value, shift in zip(values, shifts, strict=True):
                    grown = 1 + 2 * s * value
                    log_value -= copies * (0.5 * np.log(grown) + s * shift / grown)
            total += weight * np.exp(log_value)
        return total


def _spectrum(block: Block, half: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Eigenvalues of one half's covariance, squared mean along each, and the copies."""
    d = len(block.mean) // 2
    here = slice(half * d, (half + 1) * d)
    values, vectors = np.linalg.eigh(block.covariance[here, here])
    return values.clip(min=0), (block.mean[here] @ vectors) ** 2, block.copies


def _transform(
    components: Sequence[Component], s: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """φ(s, t) and E[mᵀy e^{-s|m|²-t|y|²}] on the grid, each [S, T]."""
    joint = np.zeros((len(s), len(t)))
    moment = np.zeros_like(joint)
    for one in components:
        log_mass = np.zeros_like(joint)
        inner = np.zeros_like(joint)
        for block in one.blocks:
            for row, value in enumerate(s):
                mass, product = _tilted(block, value, t)
                log_mass[row] += block.copies * mass
                inner[row] += block.copies * product
        joint += one.weight * np.exp(log_mass)
        moment += one.weight * np.exp(log_mass) * inner
    return joint, moment


def _tilted(
    block: Block, s: float, t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mass's logarithm, and E[mᵀy] under the weight, of one group of dimensions, each [T].

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
    return log_mass, shrink @ (vectors * cross).sum(0) + (m * y).sum(-1)


def _power(components: Sequence[Component], half: int) -> float:
    """E|m|² or E|y|²."""
    total = 0.0
    for one in components:
        for block in one.blocks:
            d = len(block.mean) // 2
            here = slice(half * d, (half + 1) * d)
            mean = block.mean[here]
            trace = np.trace(block.covariance[here, here])
            total += one.weight * block.copies * float(trace + mean @ mean)
    return total


def _scaled(one: Component, m: float, y: float) -> Component:
    """The component with m and y multiplied by factors."""
    blocks = []
    for block in one.blocks:
        d = len(block.mean) // 2
        by = np.repeat([m, y], d)
        blocks.append(Block(block.covariance * np.outer(by, by), block.mean * by, block.copies))
    return Component(one.weight, tuple(blocks))
