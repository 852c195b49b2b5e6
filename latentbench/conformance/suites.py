"""The kits as test classes for pytest: derive one, name the component, and it is checked.

    from latentbench.conformance import EncoderConformance

    class TestMine(EncoderConformance):
        name = "mine"
        options = {"hop_ms": 40.0}

Each check is a test of its own, `TestMine::test_conforms[look_ahead]`. The pytest plugin
`latentbench.conformance.pytest_plugin`, which pytest finds by its entry point, makes them; this
module imports neither pytest nor torch.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.conformance.check import Finding

__all__ = [
    "ConformanceSuite",
    "ConformanceWarning",
    "CorpusConformance",
    "EncoderConformance",
    "EngineConformance",
    "MetricConformance",
    "PredictorConformance",
    "ReporterConformance",
    "TransformConformance",
]


class ConformanceWarning(UserWarning):
    """A component is allowed to be so, but its author probably does not want it."""


class ConformanceSuite:
    """What the suites of all kinds share.

    Attributes:
        kind: of component; set by the classes below.
        name: of the component, as in its spec.
        options: those that differ from their defaults, validated as on the command line.
        plugin_files: files to load as inline plugins, as with `--plugin`.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    plugin_files: ClassVar[tuple[Path, ...]] = ()

    def test_conforms(self, conformance_finding: Finding) -> None:
        """One check of the kit; a doubt is a warning, and what does not apply is skipped."""
        import warnings  # noqa: PLC0415 - as pytest, only where tests run

        import pytest  # noqa: PLC0415

        if conformance_finding.status == "fail":
            if conformance_finding.error is not None:
                raise AssertionError(str(conformance_finding)) from conformance_finding.error
            pytest.fail(str(conformance_finding), pytrace=False)
        if conformance_finding.status == "skip":
            pytest.skip(conformance_finding.detail)
        if conformance_finding.status == "warn":
            warnings.warn(str(conformance_finding), ConformanceWarning, stacklevel=1)


class CorpusConformance(ConformanceSuite):
    """Checks of `latentbench.corpora.Corpus`."""

    kind = "corpus"


class EncoderConformance(ConformanceSuite):
    """Checks of `latentbench.encoders.Encoder`."""

    kind = "encoder"


class TransformConformance(ConformanceSuite):
    """Checks of `latentbench.latents.transform.Transform`."""

    kind = "transform"


class PredictorConformance(ConformanceSuite):
    """Checks of `latentbench.predictors.Predictor`."""

    kind = "predictor"


class MetricConformance(ConformanceSuite):
    """Checks of `latentbench.metrics.metric.Metric`."""

    kind = "metric"


class EngineConformance(ConformanceSuite):
    """Checks of `latentbench.engines.Engine`."""

    kind = "engine"


class ReporterConformance(ConformanceSuite):
    """Checks of `latentbench.reports.reporter.Reporter`."""

    kind = "reporter"
