"""What a reader of the tables must know beside them, a line each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.corpora.selection import left_out
from latentbench.errors import counted
from latentbench.escapes import printable
from latentbench.latents.degeneracy import degeneracies
from latentbench.metrics.units import is_rate, scale
from latentbench.reports.numbers import compact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.results.schema import Result

__all__ = ["remarks"]

SKIPPED_SHOWN = 3
SCALED = {"dnll": "ΔNLL", "x_gain": "x gain"}


def remarks(result: Result) -> Iterator[str]:
    """The scale of k = 1, then what failed, is blank, leaks, degenerates or was skipped."""
    yield from _scale(result)
    for horizon in result.horizons:
        yield from (f"k={horizon.k} failed: {error}" for error in horizon.errors)
    yield from _notes(result)
    yield from _leaks(result)
    for side, facts in result.latents.items():
        yield from (f"Latents, {side}: {found.sentence}" for found in degeneracies(facts))
    yield from left_out(result.corpus.counts)
    yield from _skipped(result)


def _scale(result: Result) -> Iterator[str]:
    """ΔNLL at k = 1 in every unit, as the original put it, and the gain that is a rate."""
    target, hertz = result.config["task"]["target"], result.encoder.frame_rate
    for horizon in result.horizons:
        for name, heading in SCALED.items():
            found = horizon.find("eval", "all", name)
            if horizon.k != 1 or found is None or not math.isfinite(found.value):
                continue
            rate = is_rate(name, target=target, horizon=horizon.k)
            told = scale(found.value, dim=horizon.dim, frame_rate=hertz, rate=rate)
            yield (
                f"k=1, eval: {heading} {compact(told.nats_per_frame, 2)} nats/frame"
                f" = {compact(told.nats_per_dim, 3)} nats/dim"
                f" = {compact(told.bits_per_dim, 3)} bits/dim"
                f" = {compact(told.bits_per_frame, 1)} bits/frame{_rate(told.kbps, hertz)}"
            )


def _rate(kbps: float | None, hertz: float) -> str:
    if kbps is None:
        return ""
    return (
        f" = {abs(kbps):.2f} kbps at {hertz:g} Hz {'saved' if kbps <= 0 else 'lost'} against the "
        "baseline"
    )


def _notes(result: Result) -> Iterator[str]:
    """Why figures are blank; one line for all horizons of the same reason."""
    horizons: dict[str, list[str]] = {}
    for horizon in result.horizons:
        for note in horizon.notes if horizon.seeds else ():  # else its error says it
            horizons.setdefault(note, []).append(str(horizon.k))
    for note, ks in horizons.items():
        yield f"k={','.join(ks)}: {note}"


def _leaks(result: Result) -> Iterator[str]:
    leaky = [str(horizon.k) for horizon in result.horizons if horizon.leaky]
    if leaky:
        yield (
            f"k={','.join(leaky)}: leaky, within the encoder's look-ahead of "
            f"{result.encoder.sight}: the context has seen the target"
        )


def _skipped(result: Result) -> Iterator[str]:
    skipped = result.corpus.skipped
    if skipped:
        named = [printable(f"{one.utterance} ({one.reason})") for one in skipped[:SKIPPED_SHOWN]]
        if (more := len(skipped) - SKIPPED_SHOWN) > 0:
            named.append(f"and {more} more, named in result.json")
        yield f"{counted(len(skipped), 'utterance')} skipped: {', '.join(named)}"
