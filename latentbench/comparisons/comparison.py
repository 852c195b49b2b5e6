"""Runs side by side: which horizons stand beside each other, in which units, and what differs.

`Comparison` is what `--json` prints; its figures and horizons are those of `result.json`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from latentbench.comparisons.against import FigureDifference, differences_from_first, sides_of
from latentbench.comparisons.circumstances import (
    Circumstance,
    different_utterances,
    find_circumstances,
)
from latentbench.comparisons.ranks import Rank, ranks_of
from latentbench.errors import UsageError
from latentbench.metrics.units import NATS, is_rate, scale
from latentbench.plugins import load_registry
from latentbench.results.figures import HEADLINES, Figures
from latentbench.results.schema import (
    ALONE,
    EncoderFacts,
    HorizonResult,
    Number,
    Record,
    Side,
    Split,
)
from latentbench.results.standing import sampled, scored_speakers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.plugins import Registry
    from latentbench.results import Result
    from latentbench.results.figures import FigureRow
    from latentbench.results.finished import FinishedRun

__all__ = [
    "ComparedHorizon",
    "ComparedRun",
    "Comparison",
    "Failure",
    "Match",
    "Scale",
    "compare_runs",
]

Match: TypeAlias = Literal["ms", "frames"]
ALL = "all"
LOOKED_AT = (*HEADLINES, "nll")


class ComparedRun(Record):
    """One run.

    Attributes:
        label: what it is called in the tables.
        folder: where it is.
        encoder: as it was.
        predictor: name, as of the corpus.
        transforms: of the latents, with their options; the factorisation is the first.
        seeds: that are done.
        steps: of training, per horizon.
        target: `delta` or `x`.
        context_frames: W; `context_ms` is the same in time.
        step_frames: m, frames over which a delta is taken; `step_ms` is the same in time.
        utterances: used, per split.
        stamps: what must be known before comparing.
        protocol: that it followed, and what it changed of it.
        speakers: of eval that were scored, at the horizon with most.
        dim: of the encoder, before any transform.
        sampled: what they are: `speakers`, or `files` of the same speakers.
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
    utterances: dict[Side, int]
    stamps: tuple[str, ...]
    protocol: str = ""
    speakers: int = 0
    dim: int = 0
    sampled: str = "speakers"


class Scale(Record):
    """A figure in nats per frame in other units; `kbps` is None where it is no rate."""

    split: Split
    slice: str
    name: str
    nats_per_dim: Number
    bits_per_dim: Number
    kbps: Number | None


class ComparedHorizon(Record):
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


class Failure(Record):
    """A run that was wanted and could not be made, and why."""

    label: str
    error: str


class Comparison(Record):
    """Runs side by side.

    Attributes:
        schema_version: raised by every change of it.
        match: whether staleness is matched in milliseconds or in frames.
        runs: in the order given.
        horizons: by staleness, then in the order of the runs.
        headline: the metric to look at first: the gain or the part of ΔNLL that is due to
            context where all runs have it, else ΔNLL.
        against: every run minus the first one given, by horizon, run and figure.
        ranks: of every run at every horizon, where the runs have a figure to rank by.
        warnings: why figures may not be compared as they stand.
        differences: circumstances that differ, what is compared among them.
        same: circumstances that were checked and are the same in all runs.
        failures: runs that are missing.
    """

    schema_version: Literal[3] = 3
    match: Match
    runs: tuple[ComparedRun, ...]
    horizons: tuple[ComparedHorizon, ...]
    headline: str
    against: tuple[FigureDifference, ...] = ()
    ranks: tuple[Rank, ...] = ()
    warnings: tuple[str, ...] = ()
    differences: tuple[Circumstance, ...] = ()
    same: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric of any run, the headline first."""
        names = [one.name for horizon in self.horizons for one in horizon.result.figures]
        return tuple(dict.fromkeys((self.headline, *names)))

    @property
    def sampled(self) -> str:
        """What the eval sides are samples of: `speakers`, `files`, or in one run either."""
        return "/".join(dict.fromkeys(run.sampled for run in self.runs))

    @cached_property
    def figures(self) -> Figures:
        """Every figure of every run as one tidy table."""
        rows: list[FigureRow] = []
        for run in self.runs:
            horizons = [one.result for one in self.horizons if one.run == run.label]
            names = (run.label, run.encoder.name, run.corpus, run.predictor)
            rows += Figures.of_horizons(horizons, *names, target=run.target).rows
        return Figures(rows)


def compare_runs(
    runs: Sequence[FinishedRun],
    match: Match = "ms",
    failures: Sequence[Failure] = (),
    *,
    strict: bool = False,
    registry: Registry | None = None,
) -> Comparison:
    """Put runs side by side and check what they have in common.

    Args:
        runs: at least one.
        match: how horizons of different encoders are paired.
        failures: runs that are missing.
        strict: refuse runs that cannot be compared as they stand.
        registry: where the metrics of the runs are; None: of what is installed.

    Raises:
        UsageError: `strict`, and there is a warning.
    """
    warnings = tuple(different_utterances(runs))
    if strict and warnings:
        raise UsageError(
            " ".join(warnings),
            "Run them on the same utterances, or leave out --strict to see them all the same.",
        )
    labels = [_labels(run.result, match) for run in runs]
    times = {
        label: float(label.strip("k= ms")) for found in labels for label in found.values()
    }  # by which they stand: milliseconds, or k where frames are matched
    horizons = [
        _horizon(run, horizon, names[horizon.k])
        for run, names in zip(runs, labels, strict=True)
        for horizon in run.result.horizons
    ]
    sides = sides_of(runs, labels, registry or load_registry()) if len(runs) > 1 else {}
    against = differences_from_first(sides)
    differing, same = find_circumstances(runs)
    return Comparison(
        match=match,
        runs=_compared(runs),
        horizons=tuple(sorted(horizons, key=lambda one: times[one.matched])),
        headline=_headline(horizons),
        against=tuple(sorted(against, key=lambda one: times[one.matched])),
        ranks=tuple(sorted(ranks_of(sides), key=lambda one: times[one.matched])),
        warnings=warnings,
        differences=differing,
        same=same,
        failures=tuple(failures),
    )


def _labels(result: Result, match: Match) -> dict[int, str]:
    """Horizon k -> label; horizons of one label stand side by side.

    By time it is the staleness that was asked for in milliseconds, else what k frames last, to a
    tenth of a millisecond.
    """
    if match == "frames":
        return {found.k: f"k={found.k}" for found in result.horizons}
    asked = _asked(result.config["task"])
    return {
        found.k: f"{round(asked.get(found.k, found.milliseconds), 1):g} ms"
        for found in result.horizons
    }


def _asked(task: Mapping[str, Any]) -> dict[int, float]:
    """Horizon k -> the staleness asked for; empty where it was asked for in frames."""
    if not task.get("horizons_ms"):
        return {}
    return dict(zip(task["horizons"], task["horizons_ms"], strict=True))


def _compared(runs: Sequence[FinishedRun]) -> tuple[ComparedRun, ...]:
    """The runs; one whose controls are among them no longer lacks these."""
    found = tuple(map(_run, runs))
    beside = {_what(one) for one in found if ALONE not in one.stamps}
    return tuple(
        one.model_copy(update={"stamps": tuple(s for s in one.stamps if s != ALONE)})
        if _what(one) in beside
        else one
        for one in found
    )


def _what(run: ComparedRun) -> tuple[str, ...]:
    """What a control has in common with what it is one of: what is predicted, and by what."""
    return run.predictor, run.encoder.name, run.corpus, run.target, *run.transforms


def _run(run: FinishedRun) -> ComparedRun:
    result, task = run.result, run.result.config["task"]
    frame = 1000 / result.encoder.frame_rate
    return ComparedRun(
        label=run.label,
        folder=str(run.folder),
        encoder=result.encoder,
        predictor=result.config["predictor"]["name"],
        corpus=result.corpus.name,
        transforms=tuple(map(_transform, _maps(result.config))),
        seeds=tuple(dict.fromkeys(seed for one in result.horizons for seed in one.seeds)),
        steps=result.steps,
        target=task["target"],
        context_frames=task["context_frames"],
        context_ms=frame * task["context_frames"],
        step_frames=task["step_frames"],
        step_ms=frame * task["step_frames"],
        utterances=result.corpus.utterances,
        stamps=result.stamps,
        protocol=result.protocol,
        speakers=max(scored_speakers(result, one) for one in result.horizons),
        sampled=sampled(result),
        dim=result.encoder.dim,
    )


def _maps(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The factorisation, if there is one, and the transforms."""
    if "factorization" in config:
        yield config["factorization"]
    yield from config["transforms"]


def _transform(component: Mapping[str, Any]) -> str:
    options = (f"{key}={value}" for key, value in component.items() if key != "name")
    return " ".join((component["name"], *options))


def _horizon(run: FinishedRun, horizon: HorizonResult, label: str) -> ComparedHorizon:
    return ComparedHorizon(
        run=run.label,
        matched=label,
        asked_ms=_asked(run.result.config["task"]).get(horizon.k),
        result=horizon,
        scales=tuple(_scales(run.result, horizon)),
    )


def _scales(result: Result, horizon: HorizonResult) -> Iterator[Scale]:
    target = result.config["task"]["target"]
    for figure in horizon.figures:
        if figure.unit != NATS or not figure.n:
            continue
        # A rate is of whole utterances, not of frames picked out of them.
        told = scale(
            figure.value,
            dim=horizon.dim,
            frame_rate=result.encoder.frame_rate,
            rate=figure.slice == ALL and is_rate(figure.name, target=target, horizon=horizon.k),
        )
        yield Scale(
            split=figure.split,
            slice=figure.slice,
            name=figure.name,
            nats_per_dim=told.nats_per_dim,
            bits_per_dim=told.bits_per_dim,
            kbps=told.kbps,
        )


def _headline(horizons: Sequence[ComparedHorizon]) -> str:
    measured: dict[str, set[str]] = {}
    for horizon in horizons:
        names = {one.name for one in horizon.result.figures if one.n}
        measured.setdefault(horizon.run, set()).update(names)
    # What only samples has none of them, and leaves the others theirs.
    there = [found for names in measured.values() if (found := names.intersection(LOOKED_AT))]
    everywhere = set.intersection(*there) if there else set()
    anywhere = set().union(*there)
    return next((name for name in LOOKED_AT if name in (everywhere or anywhere)), "dnll")
