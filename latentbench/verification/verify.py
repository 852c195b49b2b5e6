"""Hold a result against the published table of Phase 1 and its reruns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.results.horizons import FIGURES
from latentbench.verification.conditions import conditions, latents_of
from latentbench.verification.records import ReferenceCell, Verification
from latentbench.verification.references import COLUMNS, reference_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.plugins import Registry
    from latentbench.results import Result
    from latentbench.results.schema import HorizonResult
    from latentbench.verification.records import Condition, Place
    from latentbench.verification.references import ReferenceRun

__all__ = ["place_of", "verify_result"]

SHOWN_BESIDE = "mimi"
FEWEST = 2


def verify_result(result: Result, registry: Registry) -> Verification:
    """Judge every cell of the table by the spread of the reference runs.

    Cells are judged only where every condition is met; otherwise they stand beside the
    reference's, `not comparable`.

    Args:
        result: of a finished run.
        registry: the preset `phase1` is resolved with it.
    """
    met = tuple(conditions(result, registry))
    comparable = all(one.matches for one in met)
    latents = latents_of(result) or SHOWN_BESIDE
    runs = [run for run in reference_runs() if run.latents == latents]
    cells = tuple(_cells(result, runs, comparable=comparable))
    reproduced = comparable and not any(one.place == "outside" for one in cells)
    return Verification(
        reference=latents,
        runs=tuple(run.name for run in runs),
        comparable=comparable,
        conditions=met,
        cells=cells,
        reproduced=reproduced,
        summary=_summary(met, cells, runs, comparable=comparable),
    )


def place_of(value: float, reference: Sequence[float]) -> Place:
    """Where a figure lies among those of the reference runs.

    `near` is outside of their range by no more than its width. Of draws of one normal
    distribution, the fifth lies inside the range of four in 60 % and inside or near it in 94 %
    of all cases. Infinite figures are ends of the range like any other.
    """
    if len(reference) < FEWEST or math.isnan(value):
        return "no reference"
    low, high = min(reference), max(reference)
    if low <= value <= high:
        return "inside"
    # An infinite width reaches every finite figure.
    width = high - low if high > low else 0.0
    if low - width <= value <= high + width and math.isfinite(value):
        return "near"
    return "outside"


def _cells(
    result: Result, runs: Sequence[ReferenceRun], *, comparable: bool
) -> Iterator[ReferenceCell]:
    referenced = {k for run in runs for k, _ in run.values}
    for horizon in result.horizons:
        if horizon.k not in referenced:
            continue
        for column in COLUMNS:
            value = _value(horizon, column)
            known = [
                run.values[horizon.k, column] for run in runs if (horizon.k, column) in run.values
            ]
            if value is None and not known:
                continue
            place = place_of(math.nan if value is None else value, known)
            yield ReferenceCell(
                horizon=horizon.k,
                column=column,
                value=value,
                low=min(known, default=math.nan),
                high=max(known, default=math.nan),
                runs=len(known),
                place=place if comparable else "not comparable",
            )


def _value(horizon: HorizonResult, column: str) -> float | None:
    """The figure over all frames; None where it is blank."""
    if column in FIGURES:
        split, name, _ = FIGURES[column]
        found = horizon.figure(split, "all", name)
        return found.value if found is not None and found.n else None
    rollout = horizon.rollout
    return rollout.mean_gap if rollout is not None and rollout.n else None


def _summary(
    met: Sequence[Condition],
    cells: Sequence[ReferenceCell],
    runs: Sequence[ReferenceRun],
    *,
    comparable: bool,
) -> str:
    if not comparable:
        differing = ", ".join(one.name for one in met if not one.matches)
        return (
            f"Not comparable with Phase 1: {differing} differ. The reference stands beside the "
            "figures; none is judged."
        )
    counted = {
        place: sum(one.place == place for one in cells)
        for place in ("inside", "near", "outside", "no reference")
    }
    told = ", ".join(f"{count} {place}" for place, count in counted.items() if count)
    few = f"a spread of {len(runs)} runs" if len(runs) >= FEWEST else "one run, which is no spread"
    outside = ", ".join(
        f"{one.column} at k={one.horizon}" for one in cells if one.place == "outside"
    )
    verdict = f"Outside: {outside}." if outside else "Phase 1 is reproduced, as far as that tells."
    return f"Every condition is met; of {len(cells)} cells {told}, by {few}. {verdict}"
