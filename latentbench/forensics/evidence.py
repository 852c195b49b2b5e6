"""What can be measured about the frames that carry a mean."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.forensics.contexts import evenly
from latentbench.forensics.records import Carriers, DistanceBin
from latentbench.forensics.scores import in_spreads, spread_of
from latentbench.results.tails import median, worst_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.forensics.scores import Scores
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]

__all__ = [
    "FAR",
    "HEAVY",
    "OVER_CONFIDENT",
    "Look",
    "carriers_of",
    "carrying_frames",
    "degenerate_frames",
    "distance_bins",
    "rank_correlation",
    "worst_frames",
]

# Half of an excess in a tenth of the contexts is five times what chance puts there.
FAR = 0.9
OVER_CONFIDENT = 3.0
HEAVY = 20.0
CARRIED = 0.9
MOST_CARRIERS = 64
BIN_EDGES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
RANKED = 200_000


@dataclass(frozen=True)
class Look:
    """What was found about N frames, each array [N].

    Attributes:
        quantile: share of the train contexts that are less distant.
        nearest: distance to the nearest train context.
        sigmas: distance of the target from its mean, in predicted sigmas; nan where unknown.
        at_clamp: share of dimensions with log sigma at the lower bound; nan where unknown.
        degenerate: whether the frame is.
    """

    quantile: Floats
    nearest: Floats
    sigmas: Floats
    at_clamp: Floats
    degenerate: NDArray[np.bool_]


def worst_frames(nll: Floats, count: int) -> NDArray[np.int64]:
    """The numbers of the `count` largest of [n], largest first."""
    order = np.argsort(-nll, kind="stable")
    return order[:count].astype(np.int64)


def carrying_frames(nll: Floats) -> NDArray[np.int64]:
    """The fewest of the worst 0.1 % that hold 90 % of their excess over the median, 64 at most."""
    worst = worst_frames(nll, worst_count(len(nll)))
    excess = _shares(nll[worst] - median(nll))
    needed = int(np.searchsorted(np.cumsum(excess), CARRIED - 1e-12)) + 1
    return worst[: min(needed, MOST_CARRIERS)]


def carriers_of(
    scores: Scores, frames: TaskFrames, which: NDArray[np.int64], look: Look, nearest_far: float
) -> Carriers:
    """What the frames numbered `which` have in common.

    Args:
        scores: of the split.
        frames: of the split.
        which: of `carrying_frames`.
        look: at those frames.
        nearest_far: the distance to the nearest train context beyond which a context is rare.
    """
    over = scores.nll[which] - median(scores.nll)
    share = _shares(over)
    rare = (look.quantile >= FAR) | (look.nearest > nearest_far)
    confident = look.sigmas >= OVER_CONFIDENT
    baseline = scores.nll_baseline[which] - median(scores.nll_baseline)
    spread = spread_of(scores.nll_baseline)
    heavy = np.array([in_spreads(nats, spread) >= HEAVY for nats in baseline.tolist()], np.bool_)
    return Carriers(
        n=len(which),
        utterances=len({frames.latents.utterances[one].id for one in frames.utterance[which]}),
        excess=float(over.sum()),
        rare=float(share[rare].sum()),
        over_confident=float(share[confident].sum()),
        at_clamp=float(share[look.at_clamp > 0].sum()),
        extrapolated=float(share[rare & confident].sum()),
        baseline=_ratio(float(baseline.sum()), float(over.sum())),
        heavy=float(share[heavy].sum()),
        degenerate=float(share[look.degenerate].sum()),
    )


def degenerate_frames(frames: TaskFrames, which: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a frame changes nothing, its context repeats one frame, or its audio is zero."""
    batch = frames.batch(which)
    still = (batch.target == 0).all(-1).numpy()
    if batch.context.shape[1] > 1:
        still |= (batch.context == batch.context[:, :1]).flatten(1).all(-1).numpy()
    found: NDArray[np.bool_] = still | (frames.latents.energy[frames.rows[which]] == 0)
    return found


def distance_bins(nll: Floats, quantile: Floats) -> tuple[DistanceBin, ...]:
    """NLL [n] in bins of the quantile [n] that the context distance has among train contexts."""
    excess = (nll - median(nll)).clip(0)
    total = float(excess.sum())
    bins = []
    for low, high in itertools.pairwise(BIN_EDGES):
        inside = (quantile >= low) & ((quantile < high) | (high == BIN_EDGES[-1]))
        values = nll[inside]
        bins.append(
            DistanceBin(
                low=low,
                high=high,
                n=len(values),
                median=median(values),
                mean=float(values.mean()) if values.size else float("nan"),
                share=_ratio(float(excess[inside].sum()), total),
            )
        )
    return tuple(bins)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's, over at most 200,000 evenly spaced frames; nan where one does not vary."""
    which = evenly(len(first), RANKED)
    one, two = _ranks(first[which]), _ranks(second[which])
    if not (one.size and one.std() and two.std()):
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks, those of equal values averaged."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - 0.5 * (counts - 1))[where]
    return ranks


def _shares(excess: Floats) -> Floats:
    """Each over the sum; where some are not finite, these share everything."""
    if not np.isfinite(excess).all():
        excess = (~np.isfinite(excess)).astype(np.float64)
    positive = excess.clip(0)
    total = positive.sum()
    return positive / total if total > 0 else np.full(len(excess), 1 / max(1, len(excess)))


def _ratio(part: float, whole: float) -> float:
    if np.isposinf(whole):
        return 1.0 if np.isposinf(part) else 0.0
    return part / whole if whole > 0 else float("nan")
