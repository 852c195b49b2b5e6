"""Explain the scores of a finished run: find the frames that carry a mean, and say why."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from latentbench.config import density_of
from latentbench.errors import UsageError
from latentbench.explain.explanation import (
    Carriers,
    DistanceBin,
    Explanation,
    Typical,
    WorstFrame,
)
from latentbench.explain.frames import Contexts, Looks, degenerate_frames, densities_at, evenly
from latentbench.explain.tails import (
    in_spreads,
    median,
    read_scores,
    spread_of,
    tail_of,
    worst_count,
)
from latentbench.explain.verdict import ADVICE, FAR, HEAVY, OVER_CONFIDENT, judge
from latentbench.metrics.metric import NO_LOG_DENSITY
from latentbench.progress import SILENT
from latentbench.results.standing import sampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.explain.explanation import Tail
    from latentbench.explain.tails import Scores
    from latentbench.opened import OpenedRun
    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]

__all__ = ["SEARCH", "carrying_frames", "distance_bins", "explain_run", "rank_correlation"]

SEARCH = 50_000
TYPICAL = 200
TOP = 10
APART = 3.0
CARRIED = 0.9
MOST_CARRIERS = 64
BIN_EDGES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0)
RANKED = 200_000


def explain_run(
    run: OpenedRun,
    *,
    horizon: int | None = None,
    seed: int | None = None,
    split: str | None = None,
    top: int = TOP,
    search: int = SEARCH,
    progress: Progress = SILENT,
) -> Explanation:
    """Find the frames that carry a mean, and what they have in common.

    Args:
        run: its frames.parquet and models are read.
        horizon: k of the cell to explain; None: where the tail weighs most, as for the next two.
        seed: of the cell.
        split: `train` or `eval`.
        top: frames to name.
        search: train contexts among which the nearest is looked for, evenly spaced.
        progress: where the work is shown.

    Raises:
        UsageError: there is no such horizon, seed or split in the run, or it kept no NLL.
        LatentbenchError: the run's files do not belong together.
    """
    none = density_of(run.config.predictor, run.registry) == "samples"
    everything = read_scores(run.folder.frames_file, NO_LOG_DENSITY if none else "")
    tails = [tail_of(scores) for scores in everything]
    place = _choose(tails, horizon, seed, split)
    scores = everything[place]
    nll = scores.nll
    named, carrying = _worst(nll)[:top], carrying_frames(nll)
    sample = evenly(len(nll), TYPICAL)
    with progress.task("explaining", 3, "steps") as meter:
        cell = _Cell(run, scores, search)
        meter.advance()
        looks = cell.look(np.concatenate([sample, named, carrying]))
        meter.advance()
        seen = looks.part(slice(len(sample)))
        first = len(sample) + len(named)
        far = _rare_from(seen.nearest)
        carriers = _carriers(scores, cell.frames, carrying, looks.part(slice(first, None)), far)
        bins = distance_bins(nll, cell.quantile)
        meter.advance()
    facts = run.result.latents.get(scores.split)
    hypotheses, verdict, summary = judge(tails[place], carriers, facts)
    return Explanation(
        tails=tuple(tails),
        horizon=scores.horizon,
        seed=scores.seed,
        split=scores.split,
        searched=min(search, len(cell.train)),
        worst=tuple(
            cell.worst(int(number), looks.of(len(sample) + i)) for i, number in enumerate(named)
        ),
        typical=_typical(seen, far),
        carriers=carriers,
        bins=bins,
        rank_correlation=rank_correlation(nll, cell.distance),
        hypotheses=hypotheses,
        verdict=verdict,
        summary=summary,
        advice=ADVICE[verdict],
        sampled=sampled(run.result),
    )


def carrying_frames(nll: Floats) -> Numbers:
    """The fewest of the worst 0.1 % that hold 90 % of their excess over the median, 64 at most."""
    worst = _worst(nll)[: worst_count(len(nll))]
    excess = _shares(nll[worst] - median(nll))
    needed = int(np.searchsorted(np.cumsum(excess), CARRIED - 1e-12)) + 1
    return worst[: min(needed, MOST_CARRIERS)]


def distance_bins(nll: Floats, quantile: Floats) -> tuple[DistanceBin, ...]:
    """Sort frames into bins by how distant their context is, as a quantile of train contexts."""
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
                mean=float(values.mean()) if values.size else math.nan,
                share=_ratio(float(excess[inside].sum()), total),
            )
        )
    return tuple(bins)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation of at most 200,000 evenly spaced frames; nan of a constant."""
    which = evenly(len(first), RANKED)
    one, two = first[which], second[which]
    if not (one.size and (one != one[0]).any() and (two != two[0]).any()):
        return math.nan
    return float(stats.spearmanr(one, two).statistic)


def _choose(tails: list[Tail], horizon: int | None, seed: int | None, split: str | None) -> int:
    """The place of the heaviest tail among those asked for."""
    asked = {"horizon": horizon, "seed": seed, "split": split}
    places = list(range(len(tails)))
    for name, wanted in asked.items():
        known = list(dict.fromkeys(getattr(tails[place], name) for place in places))
        if wanted is not None:
            places = [place for place in places if getattr(tails[place], name) == wanted]
        if not places:
            raise UsageError(
                f"The run scored no frame of {name} {wanted}.",
                f"It has: {', '.join(map(str, known))}.",
            )
    return max(places, key=lambda place: (tails[place].weight, -place))


class _Cell:
    """One split of one cell: its frames, contexts and model."""

    def __init__(self, run: OpenedRun, scores: Scores, search: int) -> None:
        self.scores = scores
        self.search = search
        self.device = run.device
        self.frames = run.scored(scores.horizon, scores.split)
        scores.require_same(self.frames)
        self.train = run.frames(scores.horizon, "train")
        self.model = run.model(scores.horizon, scores.seed)
        self.contexts = Contexts(self.train)
        self.distance, self.norm = self.contexts.distances(self.frames, len(scores.nll))
        of_train = self.distance
        if scores.split != "train":
            train = run.scored(scores.horizon, "train")
            of_train, _ = self.contexts.distances(train, len(train))
        self.quantile: Floats = np.searchsorted(np.sort(of_train), self.distance) / len(of_train)

    def look(self, which: Numbers) -> Looks:
        """What is measured of the frames numbered `which`."""
        nearest = self.contexts.nearest(self.frames, which, search=self.search, device=self.device)
        return Looks(
            self.norm[which],
            self.distance[which],
            self.quantile[which],
            nearest,
            *densities_at(self.model, self.frames, which, self.device),
        )

    def worst(self, number: int, look: dict[str, float]) -> WorstFrame:
        """The record of one frame."""
        stored = self.frames.latents.utterances[self.frames.utterance[number]]
        t = int(self.frames.t[number])
        return WorstFrame(
            utterance=stored.id,
            speaker=stored.speaker,
            segment=stored.segment,
            frame=t,
            seconds=t / self.frames.latents.frame_rate,
            nll=float(self.scores.nll[number]),
            nll_baseline=float(self.scores.nll_baseline[number]),
            **look,
        )


def _typical(seen: Looks, far: float) -> Typical:
    """Frames to compare with."""
    return Typical(
        n=len(seen.nearest),
        context_distance=float(np.median(seen.context_distance)),
        nearest=float(np.median(seen.nearest)),
        nearest_far=far,
        log_sigma=float(np.median(seen.log_sigma)),
        at_clamp=float(seen.at_clamp.mean()),
        sigmas=float(np.median(seen.sigmas)),
    )


def _rare_from(nearest: Floats) -> float:
    """The distance to the nearest train context from which a context is rare."""
    if not np.isfinite(nearest).all():
        return math.inf
    return min(float(np.quantile(nearest, FAR)), APART * float(np.median(nearest)))


def _carriers(
    scores: Scores, frames: TaskFrames, which: Numbers, look: Looks, nearest_far: float
) -> Carriers:
    """What the frames numbered `which` have in common; rare are contexts beyond `nearest_far`."""
    over = scores.nll[which] - median(scores.nll)
    share = _shares(over)
    rare = (look.distance_quantile >= FAR) | (look.nearest > nearest_far)
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
        degenerate=float(share[degenerate_frames(frames, which)].sum()),
    )


def _worst(nll: Floats) -> Numbers:
    """The numbers of all frames, those of the largest NLL first."""
    return np.argsort(-nll, kind="stable").astype(np.int64)


def _shares(excess: Floats) -> Floats:
    """The share of each in the sum; those that are not finite share everything."""
    if not np.isfinite(excess).all():
        excess = (~np.isfinite(excess)).astype(np.float64)
    positive = excess.clip(0)
    total = positive.sum()
    return positive / total if total > 0 else np.full(len(excess), 1 / max(1, len(excess)))


def _ratio(part: float, whole: float) -> float:
    if np.isposinf(whole):
        return 1.0 if np.isposinf(part) else 0.0
    return part / whole if whole > 0 else math.nan
