"""What a reader of a comparison must know beside its tables, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.comparison.columns import by_horizon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.comparison.schema import Comparison, Difference

__all__ = ["difference_text", "remarks", "stamp_lines", "title"]

REMEDIES = {
    "delta over": "The change that is predicted is not over the same time in all runs; "
    "task.step_ms=80 makes it so.",
    "scored audio": "Not the same audio was scored in all runs; evaluation.max_frames limits it "
    "in frames.",
}


def title(comparison: Comparison) -> str:
    """One line of what is compared and how it is matched."""
    how = "in milliseconds" if comparison.match == "ms" else "in frames"
    return f"{len(comparison.runs)} runs side by side, staleness matched {how}"


def stamp_lines(comparison: Comparison) -> Iterator[str]:
    """The stamps of each run that has any."""
    for run in comparison.runs:
        if run.stamps:
            yield f"{run.label}: [{'] ['.join(run.stamps)}]"


def remarks(comparison: Comparison) -> Iterator[str]:
    """What is missing, failed, blank or leaky."""
    for failure in comparison.failures:
        yield f"{failure.label} is missing: {failure.error}"
    labels = [run.label for run in comparison.runs]
    for matched, rows in by_horizon(comparison).items():
        there = {one.run for one in rows}
        if absent := [label for label in labels if label not in there]:
            yield f"{matched}: not a horizon of {', '.join(absent)}"
    for one in comparison.horizons:
        for error in one.result.errors:
            yield f"{one.run}, {one.matched} failed: {error}"
        for note in one.result.notes if one.result.seeds else ():
            yield f"{one.run}, {one.matched}: {note}"
    for run in comparison.runs:
        leaky = [one.result.k for one in comparison.horizons if one.run == run.label]
        leaky = [k for k in leaky if k <= run.encoder.look_ahead]
        if leaky:
            yield (
                f"{run.label}, k={','.join(map(str, leaky))}: leaky, within the encoder's "
                f"look-ahead of {run.encoder.sight}: the context has seen the target"
            )
    differing = {found.what for found in comparison.differences}
    yield from (text for what, text in REMEDIES.items() if what in differing)


def difference_text(difference: Difference) -> str:
    """`80.0 ms (mimi); 20.0 ms (soundstream, logmel)`."""
    runs: dict[str, list[str]] = {}
    for label, value in difference.values.items():
        runs.setdefault(value, []).append(label)
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in runs.items())
