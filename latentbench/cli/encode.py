"""`latentbench encode`: fill the latent store, so that later runs only train."""

from __future__ import annotations

import json
from typing import Any

import click

from latentbench import api
from latentbench.cli.configuration import configuration_options, settings_of
from latentbench.cli.output import Verb, echo, json_option
from latentbench.cli.session import Session, cache_option, debug_option
from latentbench.errors import counted

__all__ = ["encode"]


@click.command(cls=Verb)
@configuration_options
@cache_option
@json_option
@debug_option
@click.pass_obj
def encode(session: Session, /, *, as_json: bool, **given: Any) -> None:
    """Fill the latent store only.

    Takes the options of 'run'. A run with the same encoder and corpus then encodes nothing.
    """
    encoded = api.encode(**settings_of(session, given))
    skipped = sum(bool(row.skipped) for row in encoded.rows)
    if as_json:
        found = {"store": str(encoded.store.path), "utterances": len(encoded.rows) - skipped}
        echo(json.dumps({**found, "read_now": encoded.fresh, "skipped": skipped}, indent=2))
        return
    echo(
        f"{counted(len(encoded.rows) - skipped, 'utterance')} in {encoded.store.path}: "
        f"{encoded.fresh:,} read now, {skipped:,} skipped"
    )
