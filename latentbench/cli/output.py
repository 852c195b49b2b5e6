"""What a command writes: its stdout is its own, and nothing that is written steers the terminal.

While a verb runs, whatever a plugin or a library prints goes to stderr, so that `--json` is
JSON and nothing else. All that commands write goes through `echo` and `console`.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, cast

import click

from latentbench.cli.session import Session
from latentbench.errors import counted
from latentbench.escapes import escaped, printable
from latentbench.reports import tables
from latentbench.reports.plan import time_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import TextIOWrapper
    from pathlib import Path

    from rich.console import Console

    from latentbench.answers import Answer
    from latentbench.planning import Plan

__all__ = [
    "Verb",
    "console",
    "echo",
    "echo_json",
    "show",
    "show_plans",
    "show_written",
    "spell_out",
]

STDOUT = "latentbench.stdout"
FD = 1
# What tables hold that ASCII lacks; the rest is written as `\u1234`.
PLAIN = {"Δ": "d", "²": "2", "³": "3", "½": "1/2", "±": "+-", "·": "*", "√": "sqrt", "…": "..."}


class Verb(click.Command):
    """A command that alone writes to stdout, and that takes `--json` and `--debug`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        as_json, debug = "Print only JSON on stdout.", "Show the traceback of an error."
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help=as_json),
            click.Option(
                ["--debug"], is_flag=True, help=debug, expose_value=False, callback=_debug
            ),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what others print meanwhile goes to stderr."""
        with _own_stdout() as stream:
            ctx.meta[STDOUT] = stream
            try:
                return super().invoke(ctx)
            finally:
                del ctx.meta[STDOUT]


def echo(text: str = "", *, err: bool = False) -> None:
    """Write lines to stdout, or stderr; JSON stays JSON."""
    click.echo(printable(text.removesuffix("\n"), keep="\n"), _stream(err=err))


def echo_json(value: Any, default: Callable[[Any], object] | None = None) -> None:
    """Write plain values to stdout as JSON; `default` as of `json.dumps`."""
    echo(json.dumps(value, indent=2, default=default))


def console() -> Console:
    """A console on stdout whose texts cannot hold escape sequences of their own."""
    from latentbench.display import HarmlessConsole  # noqa: PLC0415 - not for --help and --json

    return HarmlessConsole(file=_stream())


def show(answer: Answer[Any], *, as_json: bool = False) -> None:
    """Print an answer, as tables or as JSON."""
    if as_json:
        echo(answer.to_json())
    else:
        tables.show(answer.parts(), console())


def show_plans(plans: Mapping[str, Answer[Plan]], *, as_json: bool) -> None:
    """Print the plans of several runs by their labels, and what they take in all."""
    if as_json:
        echo_json({label: asdict(one.record) for label, one in plans.items()})
        return
    for label, plan in plans.items():
        echo(f"{label}:")
        show(plan)
        echo()
    echo(f"{counted(len(plans), 'run')}: {time_of(*(one.record for one in plans.values()))} in all")


def show_written(what: Path | str, told: Mapping[str, Any], *, as_json: bool) -> None:
    """Say on stderr what was written, and tell of it on stdout where JSON is asked for."""
    if as_json:
        echo_json(told)
    echo(f"Wrote {what}", err=True)


def spell_out() -> None:
    """Let stdout and stderr take any text, whatever they are encoded in; JSON stays JSON."""
    codecs.register_error("latentbench", _spelt_out)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # none, or replaced by something simpler
            cast("TextIOWrapper", stream).reconfigure(errors="latentbench")


def _spelt_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(one) or escaped(one) for one in lost), error.end


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    """`--debug` after the verb, as before it."""
    session = ctx.find_object(Session)
    if value and session is not None:
        session.debug = True


def _stream(*, err: bool = False) -> IO[str]:
    context = click.get_current_context(silent=True)
    if err or context is None:
        return sys.stderr if err else sys.stdout
    return cast("IO[str]", context.meta.get(STDOUT, sys.stdout))


@contextmanager
def _own_stdout() -> Iterator[IO[str]]:
    """This process's stdout, while the stdout of all others is stderr, of its children too."""
    stream = sys.stdout
    with redirect_stdout(sys.stderr):
        try:
            stream.flush()
            saved = os.dup(FD) if stream.fileno() == FD else None
        except (OSError, ValueError, AttributeError):  # no file below it, or none at all
            saved = None
        if saved is None:
            yield stream
            return
        os.dup2(sys.stderr.fileno(), FD)
        own = open(saved, "w", encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123, SIM115 - a descriptor; closed below
        try:
            yield own
            own.flush()
        finally:
            os.dup2(saved, FD)
            with suppress(OSError):
                own.close()
