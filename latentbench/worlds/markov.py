r"""Frames of a slow Markov chain whose state can be seen: what a lookup of C keys can get.

\(x_t = m_{z_t} + \sigma\varepsilon_t\) with \(\sigma\) small beside the distances of the C means,
so that a frame tells its state. Every likelihood is then a discrete entropy plus that of the
noise: with the target x, G(k) = H(π) - Σ_c π_c H(P^k[c]). A delta tells the difference of two
means, which is 0 for all C pairs of equal states; their probabilities are added up before the
entropy is taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr

from latentbench.worlds.hidden import HiddenChain
from latentbench.worlds.world import LOG_2PI_E

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.worlds.hidden import OfBelief, Pairs
    from latentbench.worlds.world import Target

__all__ = ["SeenChain", "markov"]

CONCENTRATION = 0.3  # of the Dirichlet distribution of a row: a few successors of each state


class SeenChain(HiddenChain):
    """States that every frame tells; all variances are one. `overlap` bounds what that neglects."""

    def over_contexts(self, value: OfBelief, context_frames: int) -> float:  # noqa: ARG002 - the newest frame tells the state
        """After the state c of the newest context frame the belief is row c of the transition."""
        return float(self.stationary @ value(self.transition))

    def entropy(self, weights: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
        """Of which mean, and of the noise around it."""
        means, which = np.unique(pairs.means, axis=0, return_inverse=True)
        chances = weights @ np.eye(len(means))[which.ravel()]
        noise = 0.5 * self.dim * (np.log(pairs.variances[0]) + LOG_2PI_E)
        return np.asarray(entr(chances).sum(-1) + noise)

    def overlap(self, target: Target) -> float:
        """How far a likelihood may be off because states are taken as seen, nats.

        The entropy of a component i given its sample is E ln(1 + Σ_j r_j), r_j the odds of j,
        and ln(1 + Σ r_j) ≤ Σ √r_j: so it is at most Σ_{i≠j} √(p_i p_j) e^{-|m_i - m_j|²/8v}.
        This counts the target, and the newest frame of the context.
        """
        total = 0.0
        for one in ("x", target):
            chances, means = self.peaks(one)
            variance = self.pairs(one, previous_seen=False).variances[0]
            apart = np.square(means[:, None] - means).sum(-1)
            bounds = np.sqrt(np.outer(chances, chances)) * np.exp(-apart / (8 * variance))
            np.fill_diagonal(bounds, 0.0)
            total += float(bounds.sum())
        return total

    def figures(self, horizon: int, context_frames: int, target: Target) -> dict[str, float]:
        """Also those of a lookup by the true state of the newest context frame.

        `key_gain` is of one diagonal Gaussian per key over one without key, `key_variance_ratio`
        the share of the target's squares left around the mean of its key, `key_ceiling` the
        most that any predictor can gain from so many keys, in nats.
        """
        power = np.linalg.matrix_power(self.transition, horizon - 1)
        weights = (power[:, :, None] * self.transition).reshape(len(power), -1)
        pairs = self.pairs(target, previous_seen=False)
        means = weights @ pairs.means
        within = weights @ (pairs.means**2 + pairs.variances[:, None]) - means**2
        total = self.target_variances(target)
        return {
            **super().figures(horizon, context_frames, target),
            "key_gain": float(0.5 * self.stationary @ np.log(total / within).sum(-1)),
            "key_variance_ratio": float((self.stationary @ within).sum() / total.sum()),
            "key_ceiling": math.log(len(power)),
        }


def markov(dim: int, states: int, sigma: float, stay: float, chain_seed: int) -> SeenChain:
    """Means drawn from N(0, I) and centred; P = stay I + (1 - stay) rows of a Dirichlet.

    Args:
        dim: D.
        states: C.
        sigma: standard deviation of the noise.
        stay: share of the transition that is the identity; a state may follow itself beside.
        chain_seed: of the means and the transition.
    """
    rng = np.random.default_rng(chain_seed)
    rows = rng.dirichlet(np.full(states, CONCENTRATION), states)
    transition = stay * np.eye(states) + (1 - stay) * rows
    means = rng.standard_normal((states, dim))
    variances = np.full(states, sigma**2)
    centre = SeenChain(transition, means, variances).stationary @ means
    return SeenChain(transition, means - centre, variances)
