"""The road is one-way: no station imports a later one, and specs load nothing heavy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import latentbench

PACKAGE = Path(latentbench.__file__).parent

# Each station may import those before it; what stands beside the road, anything of its own kind.
ROAD = [
    "worlds",
    "corpora",
    "encoders",
    "latents",
    "tasks",
    "predictors",
    "metrics",
    "results",
    "reports",
]


def imports(file):
    """Modules of the package that a file imports when it is run, not only for its types."""
    tree = ast.parse(file.read_text("utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            yield node.module


@pytest.mark.parametrize("station", ROAD)
def test_a_station_imports_nothing_later(station):
    later = {f"latentbench.{name}" for name in ROAD[ROAD.index(station) + 1 :]}
    later |= {f"latentbench.{name}" for name in ("cli", "experiment", "cells", "plan")}
    for file in (PACKAGE / station).rglob("*.py"):
        for module in imports(file):
            wrong = [name for name in later if module == name or module.startswith(f"{name}.")]
            assert not wrong, f"{file.relative_to(PACKAGE)} imports {module}"


def test_modules_beside_the_road_import_no_station():
    for name in ("errors", "files", "download", "digest", "device", "progress", "specs"):
        for module in imports(PACKAGE / f"{name}.py"):
            assert module.split(".")[1:2] not in [[station] for station in ROAD]


def test_every_module_says_what_it_is_for():
    for file in PACKAGE.rglob("*.py"):
        if "templates" not in file.parts:
            assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), file
