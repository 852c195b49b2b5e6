"""Draws docs/stations.svg: the layers of pyproject.toml, each with what its docstring says first.

python docs/draw_stations.py
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["PICTURE", "draw", "layers"]

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "stations.svg"

WIDTH, ROW, GAP, LEFT = 860, 30, 6, 40
LETTERS = 92  # of a caption
ROAD = {
    "corpora",
    "encoders",
    "latents",
    "tasks",
    "predictors",
    "metrics",
    "rollout",
    "results",
    "reports",
}


def layers() -> list[list[str]]:
    """The modules of each layer, those that import first."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (contract,) = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    return [layer.split(" : ") for layer in contract["layers"]]


def draw() -> str:
    """The picture as SVG."""
    rows = [_row(names, number * (ROW + GAP)) for number, names in enumerate(layers())]
    height = len(rows) * (ROW + GAP)
    arrow = (
        f'<path d="M16 {height - 8}V14M9 24L16 10L23 24" fill="none" stroke="#00897b" '
        'stroke-width="3"/>'
    )
    style = (
        "<style>text{font:14px sans-serif;fill:#222}.name{font-weight:bold}"
        ".say{fill:#555;font-size:12px}</style>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"<title>The stations: each line may import those below it</title>\n{style}\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{arrow}\n'
        + "".join(rows)
        + "</svg>\n"
    )


def _row(names: list[str], top: int) -> str:
    fill = "#b2dfdb" if ROAD.intersection(names) else "#eceff1"
    box = f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT}" height="{ROW}" rx="5" fill="{fill}"/>'
    said = _caption(names[0]) if len(names) == 1 else ""
    name = f'<text class="name" x="{LEFT + 12}" y="{top + 20}">{escape(" · ".join(names))}</text>'
    say = f'<text class="say" x="{LEFT + 128}" y="{top + 20}">{escape(said)}</text>' if said else ""
    return f"{box}{name}{say}\n"


def _caption(name: str) -> str:
    file = ROOT / "latentbench" / name / "__init__.py"
    file = file if file.is_file() else file.parent.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    first = said.partition("\n")[0].replace("`", "")
    return first if len(first) <= LETTERS else f"{first[:LETTERS].rpartition(' ')[0]} …"


if __name__ == "__main__":
    PICTURE.write_text(draw(), "utf-8")
