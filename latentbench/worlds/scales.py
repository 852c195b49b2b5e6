r"""Two-state worlds of zero mean: i.i.d. scale mixtures, and scales that switch.

A frame or delta is a mixture of isotropic Gaussians, whose density depends on |y|² alone: its
entropy is a one-dimensional integral. What the context tells is one number, the probability b
of the wide state; its expectation over the W frames of a context is taken frame by frame,
backwards: with U_0(b) the expected NLL given that the next state is wide with probability b,

.. math:: U_{n+1}(b) = \sum_j P_b(z=j) \int \chi^2_D(g)\; U_n(b'(b, v_j g))\, dg,

b' the forward filter's update and step. b stays between the transition probabilities, where U
is smooth: it is held by its values at Chebyshev nodes. Integrals over ln g are by the
trapezoidal rule, which converges exponentially for such integrands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.special import expit, gammaln, logsumexp

from latentbench.worlds.hidden import HiddenChain, Likelihoods

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from latentbench.worlds.world import Target

__all__ = ["SwitchingScales", "scale_mixture", "switching"]

NODES = 48
POINTS = 400
CUT_OFF = -40.0  # ln of the chi-square density where it is cut off


@dataclass(frozen=True, eq=False)
class SwitchingScales(HiddenChain):
    """A narrow state 0 and a wide state 1, both of mean 0."""

    def likelihoods(self, horizon: int, context_frames: int, target: Target) -> Likelihoods:
        """By the recursion above; the error is the change on halving every step."""
        fine = self._expected(horizon, context_frames, target, NODES, POINTS)
        coarse = self._expected(horizon, context_frames, target, NODES // 2, POINTS // 2)
        error = float(np.abs(np.subtract(fine, coarse)).max())
        return Likelihoods(fine[0], fine[1], error)

    def _expected(
        self, horizon: int, context_frames: int, target: Target, nodes: int, points: int
    ) -> tuple[float, float]:
        """NLL given the context, and without."""
        seen = target == "delta" and horizon == 1
        variances = self.pairs(target, previous_seen=seen).variances
        grid = _ChiSquare.of(self.dim, points)

        def entropy(wide: NDArray[np.float64]) -> NDArray[np.float64]:
            predicted = np.stack([1 - wide, wide], axis=-1)
            return grid.entropy(self.pair_weights(predicted, horizon), variances)

        wide = np.array([self.stationary[1]])
        conditional = self._over_contexts(entropy, context_frames, nodes, grid)(wide)
        # Without context: x_t - x_{t-1} for the target delta, at any k.
        unseen = self.pairs(target, previous_seen=False).variances
        unconditional = grid.entropy(self.stationary_pairs[None], unseen)
        return float(conditional[0]), float(unconditional[0])

    def _over_contexts(
        self,
        entropy: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        context_frames: int,
        nodes: int,
        grid: _ChiSquare,
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """U_W as a function of the probability of the wide state at the first context frame."""
        if self.memoryless:
            return entropy
        low, high = sorted((self.transition[0, 1], self.transition[1, 1]))
        angles = (2 * np.arange(nodes) + 1) * np.pi / (2 * nodes)
        at = low + (high - low) * (1 + np.cos(angles)) / 2
        narrow_var, wide_var = self.variances
        # Evidence for the wide state of a frame with |x|² = v g, for either v, [2, G].
        squares = self.variances[:, None] * grid.at
        evidence = 0.5 * (
            squares * (1 / narrow_var - 1 / wide_var) - self.dim * np.log(wide_var / narrow_var)
        )
        prior = np.log(at) - np.log1p(-at)
        filtered = expit(prior[:, None, None] + evidence)
        moved = low + (high - low) * filtered
        if self.transition[1, 1] < self.transition[0, 1]:
            moved = low + high - moved
        chances = np.stack([1 - at, at], axis=-1)
        value = _interpolated(at, entropy(at))
        for _ in range(context_frames):
            after = value(moved.ravel()).reshape(moved.shape)
            values = np.einsum("nj,njg,g->n", chances, after, grid.weights)
            value = _interpolated(at, values)
        return value


def _interpolated(
    nodes: NDArray[np.float64], values: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The polynomial through the values at Chebyshev nodes."""
    polynomial = BarycentricInterpolator(nodes, values)
    return lambda at: np.asarray(polynomial(at))


@dataclass(frozen=True, eq=False)
class _ChiSquare:
    """Nodes and weights for expectations over g ~ χ²_D, by the trapezoidal rule in ln g."""

    dim: int
    at: NDArray[np.float64]
    weights: NDArray[np.float64]

    @staticmethod
    @lru_cache(maxsize=16)
    def of(dim: int, points: int) -> _ChiSquare:
        a = dim / 2
        wide = np.linspace(-60.0, 12.0, 7_201) + np.log(dim)
        # ln of the density of ln g, less its value at the mode.
        height = a * (wide - np.log(dim)) - np.exp(wide) / 2 + a
        inside = wide[height > CUT_OFF]
        log_g = np.linspace(inside[0], inside[-1], points)
        step = log_g[1] - log_g[0]
        log_density = a * log_g - np.exp(log_g) / 2 - a * np.log(2) - gammaln(a)
        return _ChiSquare(dim, np.exp(log_g), step * np.exp(log_density))

    def entropy(
        self, mixture: NDArray[np.float64], variances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Entropy [N] of Σ_i w_i N(0, v_i I) for weights [N, I]: -E ln p, |y|² = v_i g."""
        # ln N(y; 0, v_j I) at |y|² = v_i g, [I, G, J]
        squares = (variances[:, None] * self.at)[..., None]
        log_normal = -0.5 * (squares / variances + self.dim * np.log(2 * np.pi * variances))
        found = np.empty(len(mixture))
        for n, weights in enumerate(mixture):
            log_density = logsumexp(log_normal, axis=-1, b=weights)
            found[n] = -np.einsum("i,ig,g->", weights, log_density, self.weights)
        return found


def scale_mixture(dim: int, ratio: float, wide: float) -> SwitchingScales:
    """Independent frames, each narrow or, with probability `wide`, `ratio` times as wide."""
    return _scales(dim, ratio, np.array([[1 - wide, wide], [1 - wide, wide]]))


def switching(dim: int, ratio: float, stay: float) -> SwitchingScales:
    """Narrow and wide spells: the state of a frame stays with probability `stay`."""
    return _scales(dim, ratio, np.array([[stay, 1 - stay], [1 - stay, stay]]))


def _scales(dim: int, ratio: float, transition: NDArray[np.float64]) -> SwitchingScales:
    # Around 1 in the geometric mean.
    variances = np.array([1 / ratio, ratio])
    return SwitchingScales(transition, np.zeros((2, dim)), variances)
