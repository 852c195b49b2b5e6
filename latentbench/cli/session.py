"""What the options before the verb decide, for every verb alike."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from latentbench.plugins import load_registry
from latentbench.sharing.hub import PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection

    from latentbench.plugins import Registry

__all__ = ["GivenPath", "GivenPlace", "Integers", "RunPath", "Session", "cache_option", "typed"]


class GivenPath(click.Path):
    """A file or folder: never empty, which would be the working folder, and `~` is home."""

    def __init__(self, **checks: Any) -> None:
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        given = os.fsdecode(value)
        if not given.strip():
            self.fail("The path is empty.", param, ctx)
        found = super().convert(os.path.expanduser(given), param, ctx)  # noqa: PTH111 - no home is no error here
        return Path(os.fsdecode(found))


class GivenPlace(GivenPath):
    """A folder, or a place on the hub, which is left as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or the text of a place on the hub."""
        return value if str(value).startswith(PREFIX) else super().convert(value, param, ctx)


class RunPath(GivenPath):
    """The folder of a run, which a file in it stands for too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The folder."""
        path = super().convert(value, param, ctx)
        return path.parent if path.is_file() else path


class Integers(click.ParamType):  # type: ignore[type-arg] # generic since click 8.2 only
    """Whole numbers with commas between them; `what` they are is told where they are none."""

    name = "n,n,..."

    def __init__(self, what: str = "whole numbers") -> None:
        self.what = what

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """The numbers, in the order given."""
        try:
            return [int(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"'{value}' is no list of {self.what} such as 1,2,4,8.", param, ctx)


cache_option = click.option(
    "--cache",
    type=GivenPath(file_okay=False),
    metavar="FOLDER",
    help="Where latents, downloads and made speech are kept "
    "[default: LATENTBENCH_CACHE, else the user's cache folder].",
)


def typed(parameters: Collection[str]) -> list[str]:
    """The options of these parameters that stand on the command line, as `--steps`."""
    ctx = click.get_current_context()
    return [
        param.opts[0]
        for param in ctx.command.params
        if param.name in parameters
        and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]


@dataclass
class Session:
    """The plugins to load and how errors are shown."""

    plugin_files: tuple[Path, ...] = ()
    strict_plugins: bool = False
    debug: bool = False

    @cached_property
    def registry(self) -> Registry:
        """Everything that can be named.

        Raises:
            UsageError: with `--strict-plugins`, where anything was refused or is in conflict.
        """
        registry = load_registry(self.plugin_files)
        if self.strict_plugins:
            registry.require_clean()
        return registry
