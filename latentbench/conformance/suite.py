"""The conformance suite: derive a class, name the component, and pytest makes every check.

    from latentbench.conformance import Conformance

    class TestMine(Conformance):
        kind = "encoder"
        name = "mine"
        options = {"hop_ms": 40.0}

Each check is a test of its own, `TestMine::test_conforms[look_ahead]`. This module imports neither
pytest nor torch: `latentbench.conformance.pytest_plugin` makes the tests.
"""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.conformance.check import Finding

__all__ = ["Conformance", "ConformanceWarning"]


class ConformanceWarning(UserWarning):
    """What is allowed, but probably not what the author of a component wants."""


class Conformance:
    """The checks of one component.

    Attributes:
        kind: of the component, e.g. `encoder`.
        name: of the component, as in its spec.
        options: those that differ from their defaults, validated as on the command line.
        plugin_files: files to load as inline plugins, as with `--plugin`.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    plugin_files: ClassVar[tuple[Path, ...]] = ()

    def test_conforms(self, conformance_finding: Finding) -> None:
        """One check; a doubt is a warning, and what does not apply is skipped."""
        import pytest  # noqa: PLC0415 - only where tests run

        found = conformance_finding
        if found.status == "fail" and found.error is not None:
            raise AssertionError(str(found)) from found.error
        if found.status == "fail":
            pytest.fail(str(found), pytrace=False)
        if found.status == "skip":
            pytest.skip(found.detail)
        if found.status == "warn":
            warnings.warn(str(found), ConformanceWarning, stacklevel=1)
