"""A grid of factorisations: the table of its states, and an answer for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.reports.columns import shown_number, time_text
from latentbench.reports.tables import BLANK, Line, Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.factoring.record import FactoredRow, Factoring, Measure

__all__ = ["factoring_report"]


def factoring_report(found: Factoring) -> Iterator[Table | Line]:
    """What the terminal shows of a grid."""
    yield Line(f"{found.encoder} on {found.corpus}, by {found.predictor}, {found.ms:g} ms", "bold")
    yield _states(found)
    yield Line()
    for stamp in dict.fromkeys(stamp for row in found.rows for stamp in row.stamps):
        stamped = [row.label for row in found.rows if stamp in row.stamps]
        whose = "all" if len(stamped) == len(found.rows) else ", ".join(stamped)
        yield Line(f"{whose}: {stamp}", "bold")
    for failure in found.failures:
        yield Line(f"{failure.label} failed: {failure.error}", "bold")
    for answer in found.answers:
        yield Line(answer.sentence)
    yield Line(
        "error: of x from the state alone, and with the innovation told, over the variance of x; "
        "movement: of one step over the spread, 1.41 where white; rank: effective; rolled, spread: "
        "step and variance of rollouts decoded into x, over those of true states; stable: ms until "
        "one of them leaves a half to twice, + where none does; G: gain, nats a frame; bill: nats "
        f"of state and rest minus those of x; in brackets 95 % intervals over {found.sampled}.",
        "dim",
    )


def _states(found: Factoring) -> Table:
    rows = found.rows
    rolled = [
        column("rolled", rows, lambda one: _number(one.rolled, 2)),
        column("spread", rows, lambda one: _number(one.rolled_spread, 2)),
        column("stable", rows, _stable),
    ]
    if not any(one.rolled for one in rows):
        rolled = []
    return Table(
        (column("state", rows, _label, left=True),),
        (
            (
                column("d", rows, lambda one: str(one.dim)),
                column("error", rows, lambda one: _number(one.error)),
                column("told", rows, lambda one: _number(one.rebuilt_error)),
                column("KL", rows, lambda one: _number(one.kl, 2)),
            ),
            (
                column("movement", rows, lambda one: _number(one.movement, 2)),
                column("rank", rows, lambda one: f"{one.rank:.1f}"),
                *rolled,
            ),
            (
                column("G", rows, lambda one: _bounds(one.gain, 2)),
                column("R²_I", rows, lambda one: _bounds(one.r2i, 3)),
                column("bill", rows, lambda one: _bounds(one.excess, 2, "+")),
            ),
        ),
    )


def _label(row: FactoredRow) -> str:
    return f"  {row.label}" if row.role == "control" else row.label


def _number(one: Measure | None, decimals: int = 3) -> str:
    return shown_number(None if one is None else one.value, decimals)


def _stable(row: FactoredRow) -> str:
    if row.stable_milliseconds is None:
        return BLANK
    return time_text(row.stable_milliseconds) + ("+" if row.dead_at is None else "")


def _bounds(one: Measure | None, decimals: int, sign: str = "") -> str:
    if one is None or one.low is None or one.high is None:
        return _number(one, decimals)
    value, low, high = (f"{part:{sign}.{decimals}f}" for part in (one.value, one.low, one.high))
    return f"{value} ({low}, {high})"
