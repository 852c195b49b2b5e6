"""The pytest plugin: makes one test of each check of a `ConformanceSuite`.

pytest loads it at its start in every project beside latentbench, so it imports nothing heavy
before a suite is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latentbench.conformance.suites import ConformanceSuite

if TYPE_CHECKING:
    from latentbench.conformance.check import Check, Finding, Subject

__all__ = ["conformance_finding", "conformance_subject", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for each check of the suite's kit, named after it."""
    if "conformance_finding" not in metafunc.fixturenames:
        return
    from latentbench.conformance.kits import kit_of  # noqa: PLC0415 - imports torch

    checks = kit_of(_suite(metafunc.cls).kind).checks
    metafunc.parametrize(
        "conformance_finding", checks, ids=[check.name for check in checks], indirect=True
    )


@pytest.fixture(scope="class")
def conformance_subject(request: pytest.FixtureRequest) -> Subject:
    """The component of the suite with its options, shared by the suite's checks."""
    from latentbench.config import ComponentConfig, build_options  # noqa: PLC0415 - pydantic
    from latentbench.conformance.kits import kit_of  # noqa: PLC0415 - imports torch
    from latentbench.plugins import load_registry  # noqa: PLC0415 - imports plugins
    from latentbench.workspace import Workspace, default_cache  # noqa: PLC0415

    suite = _suite(request.cls)
    registry = load_registry(suite.plugin_files)
    component = registry.get(suite.kind, suite.name)
    config = ComponentConfig(name=suite.name, **suite.options)
    options = build_options(config, suite.kind, registry)
    subject: Subject = kit_of(suite.kind).subject(component, options, Workspace(default_cache()))
    return subject


@pytest.fixture
def conformance_finding(request: pytest.FixtureRequest, conformance_subject: Subject) -> Finding:
    """What one check found."""
    check: Check[Any] = request.param
    return check(conformance_subject)


def _suite(cls: type | None) -> type[ConformanceSuite]:
    if cls is None or not issubclass(cls, ConformanceSuite):
        raise pytest.UsageError(
            "The fixture 'conformance_finding' belongs to classes derived from a suite of "
            "latentbench.conformance, e.g. EncoderConformance."
        )
    return cls
