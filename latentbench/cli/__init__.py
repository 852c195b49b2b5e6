"""The command line: a verb is imported when it is called.

Exit codes: 0 done, 1 something failed, 2 bad usage or configuration, 130 interrupted, 143 ended by
SIGTERM, 129 by SIGHUP. What a command found goes to stdout; progress and errors go to stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from latentbench import __version__
from latentbench.cli.groups import LazyGroup
from latentbench.cli.session import GivenPath, Session

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["main"]

# Verb -> the module here that it is in, and one line of help.
VERBS = {
    "run": ("run", "Encode, train and score: one command, one result."),
    "compare": ("compare", "Put encoders, predictors, corpora or finished runs side by side."),
    "factorize": (
        "compare",
        "Ask whether the predictable state of latents is easier to model than they are.",
    ),
    "encode": ("run", "Fill the latent store only."),
    "card": ("run", "Describe an encoder's latents, before anything predicts them."),
    "calibrate": ("calibrate", "Check the instrument against worlds whose truth is known."),
    "rollout": (
        "finished",
        "Roll the models of a finished run out again, and show the curve by depth.",
    ),
    "listen": ("finished", "Write what a finished run predicted as sound."),
    "runs": ("runs", "List the runs in a folder: how far each is, its headline and its size."),
    "watch": ("runs", "Watch a run that goes on in another terminal, until it ends."),
    "show": ("show", "Show a finished run again, or all in a folder of runs."),
    "report": ("pictures", "Write finished runs as one HTML page."),
    "plot": ("pictures", "Draw finished runs for a paper."),
    "explain": ("finished", "Say which frames make the means of a finished run, and why."),
    "verify": (
        "finished",
        "Hold a finished run against the published table of Phase 1 and its reruns.",
    ),
    "plugins": ("plugins", "List, describe, check and begin what can be named."),
    "publish": ("sharing", "Put the result of a run where others find it."),
    "reproduce": ("sharing", "Run a result again, and say what drifted."),
    "leaderboard": ("sharing", "Make a site of results, in tiers of what can be told apart."),
    "cache": ("cache", "List, measure and remove what can be made again."),
}


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: latentbench run --preset demo",
)
@click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    metavar="FILE",
    type=GivenPath(),
    help="Also load this Python file as a plugin; may be given several times.",
)
@click.option(
    "--strict-plugins", is_flag=True, help="Fail where a plugin is refused or two share a name."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="latentbench")
@click.pass_context
def main(
    ctx: click.Context, plugin_files: tuple[Path, ...], *, strict_plugins: bool, debug: bool
) -> None:
    """Measure how predictable the continuous latents of neural audio encoders are."""
    ctx.obj = Session(plugin_files=plugin_files, strict_plugins=strict_plugins, debug=debug)
