"""Explain the scores of a finished run: which frames make them, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.errors import UsageError
from latentbench.forensics.contexts import ContextScale, evenly, nearest_contexts
from latentbench.forensics.densities import look_at
from latentbench.forensics.evidence import (
    FAR,
    Look,
    carriers_of,
    carrying_frames,
    degenerate_frames,
    distance_bins,
    rank_correlation,
    worst_frames,
)
from latentbench.forensics.records import Explanation, Typical, WorstFrame
from latentbench.forensics.scores import read_scores, tail_of
from latentbench.forensics.verdict import ADVICE, judge
from latentbench.progress import SILENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.forensics.records import Tail
    from latentbench.forensics.scores import Scores
    from latentbench.opened import OpenedRun
    from latentbench.progress import Progress

    Floats = NDArray[np.float64]
    Numbers = NDArray[np.int64]

__all__ = ["SEARCH", "explain_run"]

SEARCH = 50_000
TYPICAL = 200
TOP = 10
APART = 3.0


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
    """Find the frames that make a mean what it is, and what they have in common.

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
    everything = read_scores(run.folder.frames_file)
    tails = [tail_of(scores) for scores in everything]
    place = _choose(tails, horizon, seed, split)
    with progress.task("explaining", 4, "steps") as meter:
        cell = _Cell(run, everything[place], search)
        meter.advance()
        named, carrying = worst_frames(cell.scores.nll, top), carrying_frames(cell.scores.nll)
        sample = evenly(len(cell.scores.nll), TYPICAL)
        typical, nearest_far = cell.typical(sample)
        meter.advance()
        worst, look = cell.look(np.concatenate([named, carrying]), len(named))
        meter.advance()
        carriers = carriers_of(cell.scores, cell.frames, carrying, look, nearest_far)
        facts = run.result.latents.get(cell.scores.split)
        hypotheses, verdict, summary = judge(tails[place], carriers, facts)
        bins = distance_bins(cell.scores.nll, cell.quantile)
        meter.advance()
    return Explanation(
        tails=tuple(tails),
        horizon=cell.scores.horizon,
        seed=cell.scores.seed,
        split=cell.scores.split,
        searched=cell.searched,
        worst=worst,
        typical=typical,
        carriers=carriers,
        bins=bins,
        rank_correlation=rank_correlation(cell.scores.nll, cell.distance),
        hypotheses=hypotheses,
        verdict=verdict,
        summary=summary,
        advice=ADVICE[verdict],
    )


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
        self.frames = run.frames(scores.horizon, scores.split)
        scores.require_same(self.frames)
        self.train = run.frames(scores.horizon, "train")
        self.model = run.model(scores.horizon, scores.seed)
        self.scale = ContextScale(self.train)
        self.distance, self.norm = self.scale.distances(self.frames, len(scores.nll))
        self.quantile = self._quantiles(min(len(self.train), run.config.evaluation.max_frames))
        self.searched = min(search, len(self.train))

    def _quantiles(self, count: int) -> Floats:
        """Share of the first `count` train contexts that are less distant."""
        of_train = self.distance
        if self.scores.split != "train":
            of_train, _ = self.scale.distances(self.train, count)
        quantiles: Floats = np.searchsorted(np.sort(of_train), self.distance) / len(of_train)
        return quantiles

    def typical(self, which: Numbers) -> tuple[Typical, float]:
        """Frames to compare with, and from which nearest distance on a context is rare."""
        density = look_at(self.model, self.frames, which, self.device)
        nearest = self._nearest(which)
        far = float("inf")
        if np.isfinite(nearest).all():
            far = min(float(np.quantile(nearest, FAR)), APART * float(np.median(nearest)))
        typical = Typical(
            n=len(which),
            context_distance=float(np.median(self.distance[which])),
            nearest=float(np.median(nearest)),
            nearest_far=far,
            log_sigma=float(np.median(density.log_sigma)),
            at_clamp=float(density.at_clamp.mean()),
            sigmas=float(np.median(density.sigmas)),
        )
        return typical, far

    def look(self, which: Numbers, named: int) -> tuple[tuple[WorstFrame, ...], Look]:
        """The first `named` of these frames one by one, and the others together."""
        density = look_at(self.model, self.frames, which, self.device)
        nearest = self._nearest(which)
        worst = []
        for place, number in enumerate(which[:named]):
            stored = self.frames.latents.utterances[self.frames.utterance[number]]
            t = int(self.frames.t[number])
            worst.append(
                WorstFrame(
                    utterance=stored.id,
                    speaker=stored.speaker,
                    segment=stored.segment,
                    frame=t,
                    seconds=t / self.frames.latents.frame_rate,
                    nll=float(self.scores.nll[number]),
                    nll_baseline=float(self.scores.nll_baseline[number]),
                    context_norm=float(self.norm[number]),
                    context_distance=float(self.distance[number]),
                    distance_quantile=float(self.quantile[number]),
                    nearest=float(nearest[place]),
                    log_sigma=float(density.log_sigma[place]),
                    at_clamp=float(density.at_clamp[place]),
                    weight=float(density.weight[place]),
                    sigmas=float(density.sigmas[place]),
                )
            )
        others = slice(named, None)
        look = Look(
            quantile=self.quantile[which[others]],
            nearest=nearest[others],
            sigmas=density.sigmas[others],
            at_clamp=density.at_clamp[others],
            degenerate=degenerate_frames(self.frames, which[others]),
        )
        return tuple(worst), look

    def _nearest(self, which: Numbers) -> Floats:
        return nearest_contexts(
            self.scale,
            self.frames,
            which,
            self.train,
            search=self.search,
            device=self.device,
        ).distance
