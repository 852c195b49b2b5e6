"""The pytest plugin: one test for each check of a `Conformance` class.

pytest loads it at its start in every project beside latentbench, so it imports nothing heavy
before such a class is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from latentbench.conformance.check import kit_of

if TYPE_CHECKING:
    from latentbench.conformance.check import Finding, Subject
    from latentbench.conformance.suite import Conformance

__all__ = ["conformance_finding", "conformance_subject", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each check, named after it."""
    if "conformance_finding" in metafunc.fixturenames:
        suite: type[Conformance] = metafunc.cls
        checks = kit_of(suite.kind).all
        names = [check.__name__ for check in checks]
        metafunc.parametrize("conformance_finding", checks, ids=names, indirect=True)


@pytest.fixture(scope="class")
def conformance_subject(request: pytest.FixtureRequest) -> Subject:
    """The component of the class with its options, shared by the checks."""
    from latentbench.config import ComponentConfig, build_options  # noqa: PLC0415 - pydantic
    from latentbench.plugins import load_registry  # noqa: PLC0415 - imports plugins
    from latentbench.workspace import Workspace, default_cache  # noqa: PLC0415 - as above

    suite: type[Conformance] = request.cls
    registry = load_registry(suite.plugin_files)
    component = registry.get(suite.kind, suite.name)
    config = ComponentConfig(name=suite.name, **suite.options)
    options = build_options(config, suite.kind, registry)
    return kit_of(suite.kind).subject(component, options, Workspace(default_cache()))


@pytest.fixture
def conformance_finding(request: pytest.FixtureRequest, conformance_subject: Subject) -> Finding:
    """What one check found."""
    return kit_of(request.cls.kind).look(request.param, conformance_subject)
