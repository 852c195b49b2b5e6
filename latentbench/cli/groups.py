"""Groups of commands that import late, name the nearest, and tell errors without tracebacks."""

from __future__ import annotations

import errno
import importlib
import signal
import traceback
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.output import Verb, echo, spell_out
from latentbench.errors import LatentbenchError, missing_module, nearest
from latentbench.escapes import printable
from latentbench.signals import Ended, raising

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LazyGroup", "NamingGroup"]

BY_SIGNAL = 128  # the exit code of a process that a signal ended, less its number


class NamingGroup(click.Group):
    """A group that names the nearest command where there is none of the name given."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; fails like any wrong option, with the nearest name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {nearest(args[0], known)}")
        return super().resolve_command(ctx, args)


class LazyGroup(NamingGroup):
    """The top group: verbs are imported when called, and every error ends here.

    Args:
        verbs: name -> (module of `latentbench.cli` that has it, one line of help), in the order
            of `--help`.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, on whatever stdout there is."""
        spell_out()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs, in their order."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb."""
        if cmd_name not in self.verbs:
            return None
        module = importlib.import_module(f"latentbench.cli.{self.verbs[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.verbs.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; whatever goes wrong is told in the user's words on stderr."""
        try:
            with raising():
                return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message, keep="\n")  # type: ignore[misc]  # it is read only when it is shown
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except ModuleNotFoundError as error:
            _tell(ctx, f"{error}.", missing_module(error))
            ctx.exit(1)
        except LatentbenchError as error:
            _tell(ctx, error.message, error.hint)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as error:
            echo("\nInterrupted. The same command continues from here.", err=True)
            ctx.exit(BY_SIGNAL + (error.number if isinstance(error, Ended) else signal.SIGINT))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            hint = "Run it again with --debug for the traceback, and report it if it is a bug."
            _tell(ctx, f"{type(error).__name__}: {error}", hint)
            ctx.exit(1)


def _tell(ctx: click.Context, message: str, hint: str) -> None:
    if ctx.obj is not None and ctx.obj.debug:
        traceback.print_exc()
    echo(f"Error: {message}", err=True)
    if hint:
        echo(hint, err=True)
