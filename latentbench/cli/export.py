"""`--export FILE`: what is shown, written to files of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.output import echo
from latentbench.cli.session import GivenPath
from latentbench.errors import UsageError
from latentbench.files import require_writable, write_text, writing

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.answers import Comparison, Result

__all__ = ["Exports", "export_options"]

SUFFIXES = {".csv": "csv", ".md": "markdown", ".tex": "latex", ".json": "json"}


@dataclass(frozen=True)
class Exports:
    """What the options of `export_options` ask for.

    Attributes:
        exports: the files, by suffix.
        columns: of the tables for people; none: all.
        caption: of LaTeX tables.
        label: of LaTeX tables.
    """

    exports: tuple[Path, ...]
    columns: str = ""
    caption: str = ""
    label: str = ""

    def check(self, format_: str = "") -> None:
        """Refuse what cannot be written, before anything is computed.

        Args:
            format_: what is printed, which the options are for as well.

        Raises:
            UsageError: a suffix names no format, the folder of a file is not there, or an option
                has no file it is for.
        """
        for file in self.exports:
            if file.suffix not in SUFFIXES:
                raise UsageError(
                    f"--export {file}: the suffix '{file.suffix}' names no format.",
                    f"Use one of {', '.join(SUFFIXES)}.",
                )
            require_writable(file, "--export")
        formats = {format_, *(SUFFIXES[file.suffix] for file in self.exports)}
        for option, given, takers in (
            ("columns", self.columns, {"Markdown": ".md", "LaTeX": ".tex"}),
            ("caption", self.caption, {"LaTeX": ".tex"}),
            ("label", self.label, {"LaTeX": ".tex"}),
        ):
            if given and not formats & {name.lower() for name in takers}:
                raise UsageError(
                    f"--{option} is for tables in {' or '.join(takers)}, and none is asked for.",
                    f"Add --export FILE{' or FILE'.join(takers.values())}, or leave it out.",
                )

    def text(self, format_: str, answer: Result | Comparison) -> str:
        """What is shown in one format, by name.

        Raises:
            UsageError: there is no such column.
        """
        if format_ == "csv":
            return answer.to_csv()
        if format_ == "json":
            return answer.to_json()
        columns = [name.strip() for name in self.columns.split(",") if name.strip()]
        if format_ == "markdown":
            return answer.to_markdown(columns)
        return answer.to_latex(columns, self.caption, self.label)

    def write(self, answer: Result | Comparison) -> None:
        """Write all files, and say so on stderr.

        Raises:
            UsageError: one cannot be written, or there is no such column.
        """
        for file in self.exports:
            text = self.text(SUFFIXES[file.suffix], answer)
            with writing(file, "--export"):
                write_text(file, text, shared=True)
            echo(f"Wrote {file}", err=True)


def export_options(command: Any) -> Any:
    """`--export`, `--columns`, `--caption` and `--label`, which `Exports` takes."""
    for option in (
        click.option(
            "--label", default="", metavar="NAME", help=r"Of LaTeX tables, for \ref to find them."
        ),
        click.option("--caption", default="", metavar="TEXT", help="Of LaTeX tables, in LaTeX."),
        click.option(
            "--columns",
            default="",
            metavar="NAME,...",
            help="Only these columns, in this order, in Markdown and LaTeX: n,dnll_context,...",
        ),
        click.option(
            "--export",
            "exports",
            metavar="FILE",
            multiple=True,
            type=GivenPath(dir_okay=False),
            help=f"Also write this file, by suffix: {', '.join(SUFFIXES)}; may be given several "
            "times.",
        ),
    ):
        command = option(command)
    return command
