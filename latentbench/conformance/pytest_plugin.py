"""The pytest plugin: one test for each check of a `ConformanceSuite`.

pytest loads it at its start in every project beside latentbench, so it imports nothing heavy
before a suite is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latentbench.conformance.check import kit_of

if TYPE_CHECKING:
    from latentbench.conformance.check import Finding, Subject
    from latentbench.conformance.suites import ConformanceSuite

__all__ = ["conformance_finding", "conformance_subject", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each check, named after it."""
    if "conformance_finding" in metafunc.fixturenames:
        checks = kit_of(_suite(metafunc).kind).all
        names = [check.__name__ for check in checks]
        metafunc.parametrize("conformance_finding", checks, ids=names, indirect=True)


@pytest.fixture(scope="class")
def conformance_subject(request: pytest.FixtureRequest) -> Subject:
    """The component of the suite with its options, shared by the suite's checks."""
    from latentbench.config import ComponentConfig, build_options  # noqa: PLC0415 - pydantic
    from latentbench.plugins import load_registry  # noqa: PLC0415 - imports plugins
    from latentbench.workspace import Workspace, default_cache  # noqa: PLC0415 - as above

    suite = _suite(request)
    registry = load_registry(suite.plugin_files)
    component = registry.get(suite.kind, suite.name)
    config = ComponentConfig(name=suite.name, **suite.options)
    options = build_options(config, suite.kind, registry)
    return kit_of(suite.kind).subject(component, options, Workspace(default_cache()))


@pytest.fixture
def conformance_finding(request: pytest.FixtureRequest, conformance_subject: Subject) -> Finding:
    """What one check found."""
    return kit_of(_suite(request).kind).look(request.param, conformance_subject)


def _suite(item: Any) -> type[ConformanceSuite]:
    suite: type[ConformanceSuite] = item.cls
    return suite
