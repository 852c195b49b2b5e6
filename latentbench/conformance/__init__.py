"""Conformance: does a plugin keep the contract of its kind?

Each kind has a kit of checks. The command `latentbench plugins check NAME`, the pytest plugin
and the tests of the built-in components run the same kits. Importing this package imports no
torch; a kit does.
"""

from latentbench.conformance.check import (
    Check,
    Doubt,
    Finding,
    Kit,
    NonconformityError,
    Skip,
    Subject,
)
from latentbench.conformance.kits import kit_of
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
    "Check",
    "ConformanceSuite",
    "ConformanceWarning",
    "CorpusConformance",
    "Doubt",
    "EncoderConformance",
    "EngineConformance",
    "Finding",
    "Kit",
    "MetricConformance",
    "NonconformityError",
    "PredictorConformance",
    "ReporterConformance",
    "Skip",
    "Subject",
    "TransformConformance",
    "kit_of",
]
