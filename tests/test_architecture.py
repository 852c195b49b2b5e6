"""The road is one-way: no station imports a later one, and its picture tells the truth."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import latentbench

PACKAGE = Path(latentbench.__file__).parent
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_every_module_has_its_place_and_imports_nothing_above_it(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    broken = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert not broken, capsys.readouterr().out


def test_every_module_says_what_it_is_for():
    for file in PACKAGE.rglob("*.py"):
        if "templates" not in file.parts:
            assert ast.get_docstring(ast.parse(file.read_text("utf-8"))), file


def test_the_picture_of_the_stations_is_drawn_from_the_code(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import draw_stations

    drawn = draw_stations.draw()
    sys.modules.pop("draw_stations")
    assert draw_stations.PICTURE.read_text("utf-8") == drawn, "run python docs/draw_stations.py"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+/(?:[\w.]+)?)`", PAGE))))
def test_a_file_named_on_the_page_is_there(path):
    assert (ROOT / path).exists()
