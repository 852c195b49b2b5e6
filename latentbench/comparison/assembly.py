"""From finished runs to a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentbench.comparison.against import paired_differences
from latentbench.comparison.differences import find_differences
from latentbench.comparison.matching import asked_milliseconds, horizon_labels
from latentbench.comparison.schema import ComparedHorizon, ComparedRun, Comparison, Failure, Scale
from latentbench.errors import UsageError
from latentbench.metrics.units import is_rate, scale
from latentbench.plugins import load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.comparison.matching import Match
    from latentbench.comparison.runs import FinishedRun
    from latentbench.plugins import Registry
    from latentbench.results.schema import HorizonResult, Result

__all__ = ["compare_runs"]

HEADLINES = ("dnll_context", "dnll", "nll")
NATS = "nats/frame"
ALL = "all"


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
    found = find_differences(runs)
    if strict and found.warnings:
        raise UsageError(
            " ".join(found.warnings),
            "Run them on the same utterances, or leave out --strict to see them all the same.",
        )
    labels = horizon_labels([run.result for run in runs], match)
    horizons = [
        _horizon(run, horizon, names[horizon.k])
        for run, names in zip(runs, labels, strict=True)
        for horizon in run.result.horizons
    ]
    order = _order(horizons)
    return Comparison(
        match=match,
        runs=tuple(_run(run) for run in runs),
        horizons=tuple(sorted(horizons, key=lambda one: order[one.matched])),
        headline=_headline(horizons),
        paired=tuple(
            sorted(
                paired_differences(runs, labels, registry or load_registry()),
                key=lambda one: order[one.matched],
            )
        ),
        warnings=found.warnings,
        differences=found.differences,
        same=found.same,
        failures=tuple(failures),
    )


def _run(run: FinishedRun) -> ComparedRun:
    result, task = run.result, run.result.config["task"]
    frame = 1000 / result.encoder.frame_rate
    return ComparedRun(
        label=run.label,
        folder=str(run.folder),
        encoder=result.encoder,
        predictor=result.config["predictor"]["name"],
        corpus=result.corpus.name,
        transforms=tuple(map(_transform, result.config["transforms"])),
        seeds=_seeds(result),
        steps=result.steps,
        target=task["target"],
        context_frames=task["context_frames"],
        context_ms=frame * task["context_frames"],
        step_frames=task["step_frames"],
        step_ms=frame * task["step_frames"],
        utterances=result.corpus.utterances,
        stamps=result.stamps,
    )


def _transform(component: Mapping[str, Any]) -> str:
    options = (f"{key}={value}" for key, value in component.items() if key != "name")
    return " ".join((component["name"], *options))


def _seeds(result: Result) -> tuple[int, ...]:
    return tuple(dict.fromkeys(seed for horizon in result.horizons for seed in horizon.seeds))


def _horizon(run: FinishedRun, horizon: HorizonResult, label: str) -> ComparedHorizon:
    return ComparedHorizon(
        run=run.label,
        matched=label,
        asked_ms=asked_milliseconds(run.result.config["task"]).get(horizon.k),
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


def _order(horizons: Sequence[ComparedHorizon]) -> dict[str, float]:
    """Horizon label -> where it stands: by its time, or by its k where frames are matched."""
    return {one.matched: float(one.matched.strip("k= ms")) for one in horizons}


def _headline(horizons: Sequence[ComparedHorizon]) -> str:
    measured = {one.name for horizon in horizons for one in horizon.result.figures if one.n}
    return next((name for name in HEADLINES if name in measured), HEADLINES[1])
