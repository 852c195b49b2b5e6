"""Hold a result against the published table of Phase 1 and its reruns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from latentbench.results.figures import Figures
from latentbench.results.horizons import FIGURES
from latentbench.results.schema import Number, Record
from latentbench.verification.conditions import (
    SHOWN_BESIDE,
    Condition,
    conditions,
    first_frame,
    latents_of,
    runs_beside,
)
from latentbench.verification.references import COLUMNS, HORIZONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.plugins import Registry
    from latentbench.results import Result
    from latentbench.verification.references import ReferenceRun

__all__ = ["ReferenceCell", "Verification", "place_of", "verify_result"]

Place: TypeAlias = Literal["inside", "near", "outside", "not comparable", "no reference"]
FEWEST = 2


class ReferenceCell(Record):
    """One cell of the table beside the reference's.

    Attributes:
        horizon: k.
        column: of `horizons.csv`.
        value: of this run, mean over its seeds; None where it is blank.
        low: smallest of the reference runs; inf where none is finite.
        high: largest; inf where one is not finite.
        runs: reference runs that have the cell.
        place: `inside` the range of the reference runs; `near`, outside by no more than the
            width of the range; `outside`; `not comparable` where a condition is not met;
            `no reference` where there is one run, or this one has no such figure.
    """

    horizon: int
    column: str
    value: Number | None
    low: Number
    high: Number
    runs: int
    place: Place


class Verification(Record):
    """A run held against Phase 1.

    Attributes:
        reference: whose latents in the reference table; `mimi` where it has none like them.
        runs: the reference runs by name.
        comparable: whether every condition is met.
        conditions: that the comparison stands on.
        cells: of all horizons that both have.
        reproduced: comparable, and no cell outside.
        summary: in words.
    """

    reference: str
    runs: tuple[str, ...]
    comparable: bool
    conditions: tuple[Condition, ...]
    cells: tuple[ReferenceCell, ...]
    reproduced: bool
    summary: str


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
    runs = runs_beside(result, latents)
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

    `near` is outside of their range by no more than its width. Of draws of one distribution,
    the fourth lies inside the range of three in half of all cases. What is not finite, as a
    rollout that came to nan, is the worst there is: one end of the range where a reference run
    has it, and out of range where none has.
    """
    if len(reference) < FEWEST:
        return "no reference"
    found, *known = (_worst_if_not_finite(one) for one in (value, *reference))
    low, high = min(known), max(known)
    if low <= found <= high:
        return "inside"
    # An infinite width reaches every finite figure.
    width = high - low if high > low else 0.0
    if low - width <= found <= high + width and math.isfinite(found):
        return "near"
    return "outside"


def _worst_if_not_finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _cells(
    result: Result, runs: Sequence[ReferenceRun], *, comparable: bool
) -> Iterator[ReferenceCell]:
    figures = Figures.of(result)
    for horizon in result.horizons:
        if horizon.k not in HORIZONS:
            continue
        known_runs = _of_its_frames(result, runs, horizon.k)
        for column in COLUMNS:
            value = _value(figures, horizon.k, column)
            known = [_worst_if_not_finite(run.values[horizon.k, column]) for run in known_runs]
            place: Place = "no reference" if value is None else place_of(value, known)
            yield ReferenceCell(
                horizon=horizon.k,
                column=column,
                value=value,
                low=min(known),
                high=max(known),
                runs=len(known),
                place=place if comparable else "not comparable",
            )


def _of_its_frames(result: Result, runs: Sequence[ReferenceRun], k: int) -> Sequence[ReferenceRun]:
    """The runs that predicted the same frames at k; all of them where those are no spread."""
    first = first_frame(result, k)
    same = [run for run in runs if run.first_frame(k) == first]
    return same if len(same) >= FEWEST else runs


def _value(figures: Figures, k: int, column: str) -> float | None:
    """The figure over all frames; None where it is blank."""
    split, name, _ = FIGURES[column]
    found = figures.find(name, k, split=split)
    return found.value if found is not None and found.n else None


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
