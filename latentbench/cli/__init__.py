"""The command line: one module a verb, imported when the verb is called.

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

VERBS = {
    "run": ("latentbench.cli.run:run", "Encode, train and score: one command, one result."),
    "compare": (
        "latentbench.cli.compare:compare",
        "Put encoders, predictors, corpora or finished runs side by side.",
    ),
    "factorize": (
        "latentbench.cli.factorize:factorize",
        "Ask whether the predictable state of latents is easier to model than they are.",
    ),
    "encode": ("latentbench.cli.encode:encode", "Fill the latent store only."),
    "card": (
        "latentbench.cli.card:card",
        "Describe an encoder's latents, before anything predicts them.",
    ),
    "calibrate": (
        "latentbench.cli.calibrate:calibrate",
        "Check the instrument against worlds whose truth is known.",
    ),
    "rollout": (
        "latentbench.cli.rollout:rollout",
        "Roll the models of a finished run out again, and show the curve by depth.",
    ),
    "listen": (
        "latentbench.cli.listen:listen",
        "Write what a finished run predicted as sound.",
    ),
    "runs": (
        "latentbench.cli.runs:runs",
        "List the runs in a folder: how far each is, its headline and its size.",
    ),
    "watch": (
        "latentbench.cli.watch:watch",
        "Watch a run that goes on in another terminal, until it ends.",
    ),
    "show": ("latentbench.cli.show:show", "Show a finished run again, or all in a folder of runs."),
    "report": ("latentbench.cli.report:report", "Write finished runs as one HTML page."),
    "plot": ("latentbench.cli.plot:plot", "Draw finished runs for a paper."),
    "explain": (
        "latentbench.cli.explain:explain",
        "Say which frames make the means of a finished run, and why.",
    ),
    "verify": (
        "latentbench.cli.verify:verify",
        "Hold a finished run against the published table of Phase 1 and its reruns.",
    ),
    "plugins": (
        "latentbench.cli.plugins:plugins",
        "List, describe, check and begin what can be named.",
    ),
    "publish": (
        "latentbench.cli.publish:publish",
        "Put the result of a run where others find it.",
    ),
    "reproduce": (
        "latentbench.cli.reproduce:reproduce",
        "Run a result again, and say what drifted.",
    ),
    "leaderboard": (
        "latentbench.cli.leaderboard:leaderboard",
        "Make a site of results, in tiers of what can be told apart.",
    ),
    "cache": ("latentbench.cli.cache:cache", "List, measure and remove what can be made again."),
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
