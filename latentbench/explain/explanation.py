"""The schema of `latentbench explain --json`.

Infinite and undefined numbers are strings there, as in `result.json`.
"""

from __future__ import annotations

from typing import Literal

from latentbench.records import Number, Record
from latentbench.results.schema import Split  # noqa: TC001 - pydantic reads it

__all__ = [
    "Carriers",
    "DistanceBin",
    "Explanation",
    "Hypothesis",
    "Letter",
    "Tail",
    "Typical",
    "WorstFrame",
]

Letter = Literal["a", "b", "c", "d", "e"]


class Tail(Record):
    """The mean NLL of one split of one cell, and the part that its worst frames carry.

    Attributes:
        horizon: k.
        seed: of the cell.
        split: whose frames.
        n: frames scored.
        non_finite: how many of them have an infinite or undefined NLL.
        mean: nats per frame, as the other three.
        median: of NLL.
        trimmed_mean: without the worst 0.1 % of the frames.
        baseline_mean: mean NLL of the baseline.
        share: of the sum of NLL that the worst 0.1 % carry.
        spread: interquartile range of NLL over that of a standard normal, nats.
        weight: mean minus trimmed mean, in spreads: 0.0034 for a normal distribution, 0.008 for
            an exponential one.
        worst: the largest NLL, nats.
        worst_spreads: how many spreads that is above the median.
    """

    horizon: int
    seed: int
    split: Split
    n: int
    non_finite: int
    mean: Number
    median: Number
    trimmed_mean: Number
    baseline_mean: Number
    share: Number
    spread: Number
    weight: Number
    worst: Number
    worst_spreads: Number


class WorstFrame(Record):
    """One of the frames of largest NLL.

    Attributes:
        utterance: its id.
        speaker: their id.
        segment: which stretch of the utterance, where the encoder works in chunks.
        frame: t, within the segment.
        seconds: the same in time.
        nll: of the model, nats.
        nll_baseline: of the baseline, nats.
        context_norm: as the seven after it, of `latentbench.explain.frames.Looks`.
    """

    utterance: str
    speaker: str
    segment: int
    frame: int
    seconds: float
    nll: Number
    nll_baseline: Number
    context_norm: Number
    context_distance: Number
    distance_quantile: float
    nearest: Number
    log_sigma: Number
    at_clamp: Number
    weight: Number
    sigmas: Number


class Typical(Record):
    """The same figures of evenly spaced frames of the split, to compare with.

    Attributes:
        n: frames looked at.
        context_distance: median.
        nearest: median.
        nearest_far: the distance to the nearest train context that 90 % of the frames keep, or
            three times the median where that is less.
        log_sigma: median.
        at_clamp: mean.
        sigmas: median.
    """

    n: int
    context_distance: Number
    nearest: Number
    nearest_far: Number
    log_sigma: Number
    at_clamp: Number
    sigmas: Number


class DistanceBin(Record):
    """The frames whose context distance lies between two quantiles of the train contexts'.

    Attributes:
        low: quantile from which, included.
        high: quantile below which; 1 has no upper end.
        n: frames of the split.
        median: NLL; nan where n = 0, as the mean.
        mean: NLL.
        share: of the excess over the median of all frames, those below it left out.
    """

    low: float
    high: float
    n: int
    median: Number
    mean: Number
    share: Number


class Carriers(Record):
    """The fewest frames that hold 90 % of the excess of the worst 0.1 %, 64 at most.

    The excess of a frame is its NLL minus the median; shares are shares of the excess.

    Attributes:
        n: how many.
        utterances: of how many utterances.
        excess: theirs together, nats.
        rare: share in frames with a context further out, or further from any train context,
            than 90 % are, or three times as far from any as is usual.
        over_confident: share in frames whose target is three or more predicted sigmas off.
        at_clamp: share in frames with some log sigma at the lower bound.
        extrapolated: share in frames that are both rare and over-confident.
        baseline: excess of the baseline on the same frames, over theirs.
        heavy: share in frames where the baseline's NLL is 20 or more of its own spreads above
            its median.
        degenerate: share in frames that change nothing, whose context repeats one frame, or
            whose audio is exactly zero.
    """

    n: int
    utterances: int
    excess: Number
    rare: float
    over_confident: float
    at_clamp: float
    extrapolated: float
    baseline: Number
    heavy: float
    degenerate: float


class Hypothesis(Record):
    """One explanation, whether it holds, and the evidence."""

    letter: Letter
    name: str
    holds: bool
    evidence: str


class Explanation(Record):
    """Why the scores of one cell of a run are what they are.

    Attributes:
        tails: of every cell and split of the run.
        horizon: k of the cell explained, as the three after it.
        seed: of the cell.
        split: whose frames are looked at.
        searched: train contexts among which the nearest was looked for.
        worst: the frames of largest NLL, worst first.
        typical: frames to compare them with.
        carriers: what the mean owes its height to.
        bins: NLL against the distance of the context.
        rank_correlation: Spearman's, of NLL and context distance.
        hypotheses: (a) to (e), each judged.
        verdict: the one that explains the scores.
        summary: the verdict in words.
        advice: what to do about it.
        sampled: what a `speaker` is: one of the `speakers`, or of the `files` of one voice.
    """

    tails: tuple[Tail, ...]
    horizon: int
    seed: int
    split: Split
    searched: int
    worst: tuple[WorstFrame, ...]
    typical: Typical
    carriers: Carriers
    bins: tuple[DistanceBin, ...]
    rank_correlation: Number
    hypotheses: tuple[Hypothesis, ...]
    verdict: Letter
    summary: str
    advice: str
    sampled: str = "speakers"
