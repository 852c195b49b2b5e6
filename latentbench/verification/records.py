"""What a verification holds, as it is written to JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from latentbench.results.schema import Number  # noqa: TC001 - pydantic reads it

__all__ = ["Condition", "Place", "ReferenceCell", "Verification"]

Place = Literal["inside", "near", "outside", "not comparable", "no reference"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Record):
    """One condition of Phase 1, as it was met.

    Attributes:
        name: `latents`, `weights`, `corpus`, `split`, `protocol`, or a key of the configuration.
        matches: whether a comparison may stand on it.
        found: in this run.
        expected: by Phase 1.
    """

    name: str
    matches: bool
    found: str
    expected: str


class ReferenceCell(_Record):
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


class Verification(_Record):
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
