"""Scaffold: distributions to start a plugin from, complete and with one working component.

Templates are the files of `templates/any/` and of `templates/<kind>/`, with `$name` and its kin
replaced in their text; their folder `package` gets the name of the import package. The suffix
`.template` keeps tools from reading them as code.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from string import Template
from typing import TYPE_CHECKING

from latentbench import __version__
from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.abc import Traversable
    from pathlib import Path

    from latentbench.plugins import Registry

__all__ = ["TEMPLATE_KINDS", "Made", "create"]

# Kind -> what its template imports beside latentbench.
NEEDS = {
    "encoder": "torch>=2.6",
    "predictor": "torch>=2.6",
    "metric": "numpy>=1.26",
    "corpus": "numpy>=1.26",
    "factorization": "torch>=2.6",
    "transform": "torch>=2.6",
    "engine": "annotated-types>=0.6",
    "reporter": "rich>=13",
}
TEMPLATE_KINDS = tuple(NEEDS)
ANY = "any"
PACKAGE = "package"
SUFFIX = ".template"
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@dataclass(frozen=True)
class Made:
    """A new distribution: its folder, and its files as paths in that folder."""

    folder: Path
    files: tuple[PurePosixPath, ...]


def create(kind: str, name: str, out: Path, registry: Registry) -> Made:
    """Write the distribution `latentbench-<name>` into the folder `<out>/<name>`.

    Args:
        kind: one of `TEMPLATE_KINDS`.
        name: of the component: lower-case letters, digits, `-` and `_`.
        out: made if it is not there.
        registry: whose components of that kind may not have the name.

    Raises:
        UsageError: there is no template of that kind, the name cannot be used or is taken,
            the folder is there already or cannot be written.
    """
    if kind not in TEMPLATE_KINDS:
        raise UsageError(
            f"There is no template of the kind '{kind}'.", nearest(kind, TEMPLATE_KINDS)
        )
    _check_name(kind, name, registry)
    folder = out / name
    if folder.exists():
        raise UsageError(
            f"'{folder}' is there already; nothing was written.",
            "Choose another name, or another folder with --out.",
        )
    words = _words(kind, name)
    texts = {
        _placed(path, words): Template(text).substitute(words) for path, text in _templates(kind)
    }
    try:
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(
            f"'{error.filename or folder}' cannot be written: {error.strerror}.",
            f"Choose another folder with --out, and remove '{folder}' if it is there.",
        ) from error
    return Made(folder, tuple(sorted(texts)))


def _check_name(kind: str, name: str, registry: Registry) -> None:
    words = _words(kind, name)
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.iskeyword(words["Class"]):
        raise UsageError(
            f"'{name}' cannot be the name of a plugin.",
            "Use lower-case letters, digits and single dashes, a letter first, and no word of "
            "Python's own, e.g. my-encoder.",
        )
    distribution = words["distribution"]
    for component in registry.components:
        if (component.spec.kind, component.spec.name) == (kind, name):
            raise UsageError(
                f"The {kind} '{name}' exists already, of {component.provider}.",
                "Choose another name: two of one name cannot be told apart.",
            )
        if component.provider.distribution == distribution:
            raise UsageError(
                f"'{distribution}' is installed already, with the {component}.",
                f"Choose another name, or add the {kind} to that distribution by hand.",
            )


def _words(kind: str, name: str) -> dict[str, str]:
    module = name.replace("-", "_")
    return {
        "kind": kind,
        "name": name,
        "package": f"latentbench_{module}",
        "module": module,
        "distribution": f"latentbench-{name.replace('_', '-')}",
        "needs": NEEDS[kind],
        "version": __version__,
        "Class": "".join(part.capitalize() for part in module.split("_")),
    }


def _placed(path: PurePosixPath, words: dict[str, str]) -> PurePosixPath:
    """Where a template goes in the distribution."""
    parts = [words["package"] if part == PACKAGE else part for part in path.parts]
    return PurePosixPath(*parts)


def _templates(kind: str) -> Iterator[tuple[PurePosixPath, str]]:
    """Path and text of every template for a kind."""
    root = resources.files("latentbench.scaffold") / "templates"
    for folder in (ANY, kind):
        yield from _below(root / folder, PurePosixPath())


def _below(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, path / entry.name)
        elif entry.name.endswith(SUFFIX):
            yield path / entry.name.removesuffix(SUFFIX), entry.read_text("utf-8")
