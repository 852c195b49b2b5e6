"""The kits on components of inline plugins."""

from pathlib import Path

import pytest

from latentbench.config import ComponentConfig, build_options
from latentbench.conformance import run_checks
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace


@pytest.fixture(scope="session")
def registry():
    """The built-in components beside those that break their contracts."""
    return load_registry(sorted(Path(__file__).parent.glob("bad_*.py")))


@pytest.fixture
def check(registry, tmp_path):
    """Run a kit; the findings by the names of their checks."""

    def run(kind, name, **given):
        options = build_options(ComponentConfig(name=name, **given), kind, registry)
        findings = run_checks(registry.get(kind, name), options, Workspace(tmp_path))
        return {finding.check: finding for finding in findings}

    return run
