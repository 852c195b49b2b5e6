"""`run`, `encode` and `card`: a whole run, its latents alone, and what these are like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.configuration import configuration_options, settings_of
from latentbench.cli.output import Verb, echo, echo_json, show
from latentbench.cli.session import GivenPath, Session, cache_option
from latentbench.cli.show import full_option, reporter_of, reporter_option, show_run
from latentbench.errors import CellFailedError, counted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["card", "encode", "run"]


@click.command(cls=Verb)
@configuration_options
@click.option(
    "--out",
    metavar="FOLDER",
    type=GivenPath(),
    help="The run folder [default: runs/<encoder>-<predictor>-<corpus>-<digest>].",
)
@cache_option
@click.option(
    "--track",
    "trackers",
    metavar="NAME",
    multiple=True,
    help="Who else is told of losses and figures: tensorboard, wandb, mlflow or a plugin's; with "
    "options, '{name: NAME, KEY: VALUE}'.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
@reporter_option
@full_option
@click.pass_obj
def run(
    session: Session,
    /,
    out: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
    reporter: str | None,
    full: bool,
    trackers: tuple[str, ...],
    **given: Any,
) -> None:
    """Encode, train and score: one command, one result.

    Without options this is Phase 1: Mimi, LibriSpeech train-clean-100, the mixture density
    network, 25,000 steps. The same command continues a run that was interrupted.
    """
    settings = settings_of(session, given)
    how = reporter_of(reporter, session.registry, as_json=as_json, full=full)
    if dry_run:
        show(api.plan(**settings), as_json=how.name == "json")
        return
    result = api.run(out=out, **settings | {"trackers": trackers})
    show_run(result, how)
    if failed := result.record.failed:
        horizons = ", ".join(f"k={horizon.k}" for horizon in failed)
        raise CellFailedError(
            f"{len(failed)} of {counted(len(result.record.horizons), 'horizon')} failed: "
            f"{horizons}.",
            "Give the same command again to run only these.",
        )


@click.command(cls=Verb)
@configuration_options
@cache_option
@click.pass_obj
def encode(session: Session, /, *, as_json: bool, **given: Any) -> None:
    """Fill the latent store only.

    Takes the options of 'run'. A run with the same encoder and corpus then encodes nothing.
    """
    encoded = api.encode(**settings_of(session, given))
    skipped = sum(bool(row.skipped) for row in encoded.rows)
    if as_json:
        found = {"store": str(encoded.store.path), "utterances": len(encoded.rows) - skipped}
        echo_json({**found, "read_now": encoded.fresh, "skipped": skipped})
        return
    echo(
        f"{counted(len(encoded.rows) - skipped, 'utterance')} in {encoded.store.path}: "
        f"{encoded.fresh:,} read now, {skipped:,} skipped"
    )


@click.command(cls=Verb)
@click.argument("encoder", metavar="ENCODER")
@click.option(
    "--corpus", metavar="NAME", help="Where the audio is from [default: speech-demo, made here]."
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=GivenPath(),
    help="Values from a YAML file; names the corpus too.",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the encoder, weights=FILE, or a key, corpus.root=FOLDER; wins over all.",
)
@click.option("--limit", type=int, metavar="N", help="Use N utterances of all speakers in turn.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    metavar="FILE",
    type=GivenPath(dir_okay=False),
    help="Also write it: .html, one page, or .json, a run's as card.json in its folder.",
)
@cache_option
@click.pass_obj
def card(
    session: Session,
    /,
    out: Path | None,
    *,
    as_json: bool,
    assignments: tuple[str, ...],
    **given: Any,
) -> None:
    """Describe an encoder's latents, before anything predicts them.

    The card of ENCODER says their levels, directions and memory, and how it takes audio.
    Nothing is trained. What was encoded stays in the cache, for 'run' too.
    """
    keys = [one if "." in one.partition("=")[0] else f"encoder.{one}" for one in assignments]
    asked = settings_of(session, {**given, "assignments": keys, "preset": None})
    if given["config_file"] is None:  # nothing is a setting of its own
        del asked["config"]
    del asked["preset"]
    show(api.card(out=out, **asked), as_json=as_json)
    if out is not None:
        echo(f"Wrote {out}", err=True)
