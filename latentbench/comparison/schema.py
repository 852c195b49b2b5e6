"""The schema of a comparison as JSON; `schema_version` is raised by every change of it.

Figures and horizons are those of `result.json`, of which this is a selection side by side.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from latentbench.results.schema import (  # noqa: TC001 - pydantic reads them at run time
    EncoderFacts,
    HorizonResult,
    Number,
    Split,
)

__all__ = [
    "ComparedHorizon",
    "ComparedRun",
    "Comparison",
    "Difference",
    "Failure",
    "PairedDifference",
    "Scale",
    "Verdict",
]

Verdict = Literal["distinguishable", "not distinguishable", "no interval", "withheld"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ComparedRun(_Record):
    """One run.

    Attributes:
        label: what it is called in the tables.
        folder: where it is.
        encoder: as it was.
        predictor: name.
        corpus: name.
        transforms: of the latents, with their options.
        seeds: of the configuration.
        steps: of training, per horizon.
        target: `delta` or `x`.
        context_frames: W.
        context_ms: the same in time.
        step_frames: m, frames over which a delta is taken.
        step_ms: the same in time.
        utterances: used, per split.
        stamps: what must be known before comparing.
    """

    label: str
    folder: str
    encoder: EncoderFacts
    predictor: str
    corpus: str
    transforms: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    target: str
    context_frames: int
    context_ms: float
    step_frames: int
    step_ms: float
    utterances: dict[Split, int]
    stamps: tuple[str, ...]


class Scale(_Record):
    """A figure in nats per frame in other units.

    Attributes:
        split: of the figure.
        slice: of the figure.
        name: of the figure.
        nats_per_dim: per frame and dimension.
        bits_per_dim: per frame and dimension.
        kbps: None where the figure is no rate: it is one at k = 1 for the target x alone.
    """

    split: Split
    slice: str
    name: str
    nats_per_dim: Number
    bits_per_dim: Number
    kbps: Number | None


class ComparedHorizon(_Record):
    """One run at one horizon.

    Attributes:
        run: label.
        matched: label of the horizon; those of one label stand side by side.
        asked_ms: the staleness asked for; None where it was asked for in frames.
        result: what was found.
        scales: its figures in nats per frame, in other units.
    """

    run: str
    matched: str
    asked_ms: float | None
    result: HorizonResult
    scales: tuple[Scale, ...]

    def scale(self, split: str, slice_: str, name: str) -> Scale | None:
        """The figure of that split, slice and metric in other units, None where there is none."""
        for found in self.scales:
            if (found.split, found.slice, found.name) == (split, slice_, name):
                return found
        return None


class PairedDifference(_Record):
    """A figure of one run minus that of the reference, over the eval speakers both have.

    Where they have none in common, as on two corpora, over those of each side, apart.

    Attributes:
        run: label; the reference is the first run of the comparison.
        matched: label of the horizon.
        name: of the figure, over all eval frames.
        unit: that of the figure, but `nats/dim` for nats where the latents are not the same;
            empty for a pure number.
        value: None where there is none.
        low: lower bound of the 95 % interval over speakers, None where there is none.
        high: upper bound.
        speakers: that both have; where they have none in common, those of the two together.
        paired: whether the interval is over the same speakers in both.
        left_out: speakers that only one of them has, where it is.
        verdict: `distinguishable` where the interval excludes 0; `withheld` where the rows are
            not alike, whatever the interval.
        reason: why there is no interval or no verdict.
    """

    run: str
    matched: str
    name: str
    unit: str
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    speakers: int = 0
    left_out: int = 0
    paired: bool = True
    verdict: Verdict
    reason: str = ""


class Difference(_Record):
    """One circumstance that is not the same in all runs: run label -> what it is there."""

    what: str
    values: dict[str, str]


class Failure(_Record):
    """A run that was wanted and could not be made, and why."""

    label: str
    error: str


class Comparison(_Record):
    """Runs side by side.

    Attributes:
        match: `ms` or `frames`.
        runs: in the order given.
        horizons: by staleness, then in the order of the runs.
        headline: the metric to look at first: the part of ΔNLL that is due to context where
            the runs have it, else ΔNLL.
        paired: every run minus the first one given, by horizon, run and figure.
        warnings: why figures may not be compared as they stand.
        differences: circumstances that differ, what is compared among them.
        same: circumstances that were checked and are the same in all runs.
        failures: runs that are missing.
    """

    schema_version: Literal[1] = 1
    match: Literal["ms", "frames"]
    runs: tuple[ComparedRun, ...]
    horizons: tuple[ComparedHorizon, ...]
    headline: str
    paired: tuple[PairedDifference, ...] = ()
    warnings: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    same: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> str:
        """Indented JSON that any reader takes and `model_validate_json` reads back."""
        return self.model_dump_json(indent=2) + "\n"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric of any run, the headline first."""
        names = {self.headline: ""}
        for horizon in self.horizons:
            names |= dict.fromkeys((one.name for one in horizon.result.figures), "")
        return tuple(names)

    def run(self, label: str) -> ComparedRun:
        """The run of that label."""
        return next(run for run in self.runs if run.label == label)
