"""Every hook of latentbench, on one page.

A plugin is a module named by an entry point of the group `latentbench`. It implements any of
these hooks with `latentbench.hookspecs.hookimpl` and imports no torch: a hook yields specs, and
a spec names its factory by a string that is imported on use. All hooks take no arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentbench.specs import (
        CorpusSpec,
        EncoderSpec,
        EngineSpec,
        FactorizationSpec,
        MetricSpec,
        PredictorSpec,
        ReporterSpec,
        TrackerSpec,
        TransformSpec,
    )

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "latentbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def latentbench_corpora() -> Iterable[CorpusSpec]:  # type: ignore[empty-body]
    """Yield sources of utterances. Contract: `latentbench.corpora.Corpus`."""


@hookspec
def latentbench_encoders() -> Iterable[EncoderSpec]:  # type: ignore[empty-body]
    """Yield maps from audio to latents. Contract: `latentbench.encoders.Encoder`."""


@hookspec
def latentbench_factorizations() -> Iterable[FactorizationSpec]:  # type: ignore[empty-body]
    """Yield maps to a predictable state. Contract: `latentbench.factorizations.Factorization`."""


@hookspec
def latentbench_transforms() -> Iterable[TransformSpec]:  # type: ignore[empty-body]
    """Yield maps of latents fitted on train. Contract: `latentbench.latents.Transform`."""


@hookspec
def latentbench_predictors() -> Iterable[PredictorSpec]:  # type: ignore[empty-body]
    """Yield conditional densities. Contract: `latentbench.predictors.Predictor`."""


@hookspec
def latentbench_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Yield scores of predictions. Contract: `latentbench.metrics.Metric`."""


@hookspec
def latentbench_engines() -> Iterable[EngineSpec]:  # type: ignore[empty-body]
    """Yield ways to run cells. Contract: `latentbench.engines.Engine`."""


@hookspec
def latentbench_reporters() -> Iterable[ReporterSpec]:  # type: ignore[empty-body]
    """Yield ways to show a result. Contract: `latentbench.reports.Reporter`."""


@hookspec
def latentbench_trackers() -> Iterable[TrackerSpec]:  # type: ignore[empty-body]
    """Yield tools that follow a run. Contract: `latentbench.trackers.Tracker`."""
