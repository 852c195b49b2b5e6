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

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.special import expit, gammaln, logsumexp

from latentbench.worlds.hidden import HiddenChain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.hidden import OfBelief, Pairs

__all__ = ["SwitchingScales", "scale_mixture", "switching"]

NODES = 48
POINTS = 400
CUT_OFF = -40.0  # ln of the chi-square density where it is cut off


class SwitchingScales(HiddenChain):
    """A narrow state 0 and a wide state 1, both of mean 0."""

    def entropy(self, weights: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
        """By -E ln p at |y|² = v_i g, g ~ χ²_D, for each component i."""
        g, share = self._chi_square
        squares, variances = (pairs.variances[:, None] * g)[..., None], pairs.variances
        # ln N(y; 0, v_j I), [I, G, J]
        log_normal = -0.5 * (squares / variances + self.dim * np.log(2 * np.pi * variances))
        found = np.empty(len(weights))
        for n, row in enumerate(weights):
            log_density = logsumexp(log_normal, axis=-1, b=row)
            found[n] = -np.einsum("i,ig,g->", row, log_density, share)
        return found

    def over_contexts(self, value: OfBelief, context_frames: int) -> float:
        """By the recursion above, from the stationary belief at the first context frame."""
        wide = np.array([self.stationary[1]])
        if self.memoryless:
            return float(value(_belief(wide))[0])
        g, share = self._chi_square
        low, high = sorted((self.transition[0, 1], self.transition[1, 1]))
        nodes = int(self.refinement * NODES)
        angles = (2 * np.arange(nodes) + 1) * np.pi / (2 * nodes)
        at = low + (high - low) * (1 + np.cos(angles)) / 2
        narrow_var, wide_var = self.variances
        # Evidence for the wide state of a frame with |x|² = v g, for either v, [2, G].
        squares = self.variances[:, None] * g
        evidence = 0.5 * (
            squares * (1 / narrow_var - 1 / wide_var) - self.dim * np.log(wide_var / narrow_var)
        )
        prior = np.log(at) - np.log1p(-at)
        filtered = expit(prior[:, None, None] + evidence)
        moved = low + (high - low) * filtered
        if self.transition[1, 1] < self.transition[0, 1]:
            moved = low + high - moved
        expected = BarycentricInterpolator(at, value(_belief(at)))
        for _ in range(context_frames):
            after = expected(moved.ravel()).reshape(moved.shape)
            expected = BarycentricInterpolator(
                at, np.einsum("nj,njg,g->n", _belief(at), after, share)
            )
        return float(expected(wide)[0])

    @cached_property
    def _chi_square(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nodes and weights for expectations over g ~ χ²_D: the trapezoidal rule in ln g."""
        a = self.dim / 2
        wide = np.linspace(-60.0, 12.0, 7_201) + np.log(self.dim)
        # ln of the density of ln g, less its value at the mode.
        height = a * (wide - np.log(self.dim)) - np.exp(wide) / 2 + a
        inside = wide[height > CUT_OFF]
        log_g = np.linspace(inside[0], inside[-1], int(self.refinement * POINTS))
        log_density = a * log_g - np.exp(log_g) / 2 - a * np.log(2) - gammaln(a)
        return np.exp(log_g), (log_g[1] - log_g[0]) * np.exp(log_density)


def _belief(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of both states, [N, 2], from that of the wide one."""
    return np.stack([1 - wide, wide], axis=-1)


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
