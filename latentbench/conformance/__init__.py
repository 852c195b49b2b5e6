"""Conformance: checks that a plugin keeps the contract of its kind.

Each kind has a list of checks. The command `latentbench plugins check NAME`, the pytest plugin
and the tests of the built-in components run the same list. Importing this package imports no
torch; the checks do.
"""

from latentbench.conformance.check import Finding, run_checks
from latentbench.conformance.suite import Conformance, ConformanceWarning

__all__ = ["Conformance", "ConformanceWarning", "Finding", "run_checks"]
