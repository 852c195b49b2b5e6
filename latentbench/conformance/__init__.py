"""Conformance: checks that a plugin keeps the contract of its kind.

Each kind has a list of checks. The command `latentbench plugins check NAME`, the pytest plugin
and the tests of the built-in components run the same list. Importing this package imports no
torch; the checks do.
"""

from latentbench.conformance.check import Finding, run_checks
from latentbench.conformance.suites import (
    ConformanceSuite,
    ConformanceWarning,
    CorpusConformance,
    EncoderConformance,
    EngineConformance,
    MetricConformance,
    PredictorConformance,
    ReporterConformance,
    TransformConformance,
)

__all__ = [
    "ConformanceSuite",
    "ConformanceWarning",
    "CorpusConformance",
    "EncoderConformance",
    "EngineConformance",
    "Finding",
    "MetricConformance",
    "PredictorConformance",
    "ReporterConformance",
    "TransformConformance",
    "run_checks",
]
