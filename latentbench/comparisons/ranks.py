"""The ranks of a comparison: by what all have, over what can be told apart.

Models of the same latents are ranked by what their frames scored. A gain or a skill would put a
model first whose control is poor: one that always answers with the mean gains much over the same
without a context. Other latents have other scores, so there gains and skills are all there is.

The rank of a run is 1 and the number of ranked runs that are better beyond the interval of the
difference. So those that share one cannot be told apart, and none is ahead by chance alone. What is
withheld (`results.standing`) has a reason in the place of a rank.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from latentbench.comparisons.against import compared, same_latents
from latentbench.results.figures import SCORES
from latentbench.results.schema import Number, Record
from latentbench.results.standing import withheld

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from latentbench.comparisons.against import Side

__all__ = ["RANKED", "Rank", "ranks_of"]

# By what latents of any coordinates are compared, each against a model that saw no context; those
# after the first are of models that only sample too.
RANKED = ("r2i", "energy_skill", "variogram_skill")
# The energy score hardly sees how dimensions go together: what does is ranked by beside it.
BESIDE = {"energy_skill": "variogram_skill", "energy_score": "variogram_score"}
SETTLED = ("distinguishable", "not distinguishable")
NOT_FINITE = "the score is not a finite number"


class Rank(Record):
    """Where a run stands at one horizon.

    Attributes:
        run: label.
        matched: label of the horizon.
        figure: that it is ranked by; empty where there is none.
        value: of that figure.
        rank: 1 for the best; None where it takes no part.
        reasons: why it takes no part.
        beside: a second figure that the same runs are ranked by: `variogram_skill` beside
            `energy_skill`, and scores likewise; empty where not all of them can be held against
            one another by it.
        value_beside: of that figure.
        rank_beside: by it.
    """

    run: str
    matched: str
    figure: str = ""
    value: Number | None = None
    rank: int | None = None
    reasons: tuple[str, ...] = ()
    beside: str = ""
    value_beside: Number | None = None
    rank_beside: int | None = None


def ranks_of(sides: Mapping[str, Sequence[Side]]) -> Iterator[Rank]:
    """The rank of every run at every horizon; nothing where no run has a figure to rank by."""
    for matched, here in sides.items():
        if any(name in side.units for side in here for name in (*RANKED, *_figures(here))):
            yield from _ranked(matched, here)


def _ranked(matched: str, here: Sequence[Side]) -> Iterator[Rank]:
    reasons = [list(_barred(side)) for side in here]
    able = [number for number, why in enumerate(reasons) if not why]
    figure = next((one for one in _figures(here) if all(one in here[at].units for at in able)), "")
    for at in able:
        if not math.isfinite(_value(here[at], figure) or 0.0):
            reasons[at].append(NOT_FINITE)
    able = [at for at in able if not reasons[at]]
    beaten, unsettled = _settled(matched, figure, {at: here[at] for at in able})
    for one, other, reason in unsettled:
        for at, against in ((one, other), (other, one)):
            label = here[against].run.label
            reasons[at].append(f"not to be held against {label}: {reason}")
    held = {at: here[at] for at in able if not reasons[at]}
    first = _counted(beaten, held)
    second, ranks = _beside(matched, figure, held)
    for number, side in enumerate(here):
        why = reasons[number]
        if number in held and len(held) == 1:
            why.append("no other run to rank against")
        if number in held and not figure:
            why.append("no figure that all have")
        yield Rank(
            run=side.run.label,
            matched=matched,
            figure=figure,
            value=_value(side, figure),
            rank=None if why else first[number],
            reasons=tuple(why),
            beside="" if why else second,
            value_beside=None if why else _value(side, second),
            rank_beside=None if why else ranks.get(number),
        )


def _figures(sides: Sequence[Side]) -> Iterator[str]:
    """By what they may be ranked: that which says most, first."""
    first = sides[0].run
    return iter(SCORES if all(same_latents(one.run, first) for one in sides) else RANKED)


def _value(side: Side, figure: str) -> float | None:
    table = side.tables.get(figure)
    return None if table is None else float(table.values(np.ones((1, len(table.speakers))))[0])


def _settled(
    matched: str, figure: str, sides: Mapping[int, Side]
) -> tuple[list[tuple[int, int]], list[tuple[int, int, str]]]:
    """Which are better than which by a figure, and which two have no verdict, and why."""
    beaten, unsettled = [], []
    for one, other in combinations(sides, 2) if figure else ():
        found = compared(matched, figure, sides[one], sides[other])
        if found.verdict not in SETTLED:
            unsettled.append((one, other, found.reason))
        elif found.verdict == "distinguishable":
            is_less = (found.value or 0.0) < 0
            less_is_better = sides[one].metrics[figure].better == "lower"
            pair = (one, other) if is_less == less_is_better else (other, one)
            beaten.append(pair)
    return beaten, unsettled


def _counted(beaten: Sequence[tuple[int, int]], held: Collection[int]) -> dict[int, int]:
    """1 and how many of those that are ranked are better than each of them."""
    counts = Counter(loser for winner, loser in beaten if winner in held)
    return {at: 1 + counts[at] for at in held}


def _beside(matched: str, figure: str, sides: Mapping[int, Side]) -> tuple[str, dict[int, int]]:
    """What is ranked by beside a figure, and the rank of each; nothing where not all have it."""
    second = BESIDE.get(figure, "")
    if not all(second in side.units for side in sides.values()):
        return "", {}
    beaten, unsettled = _settled(matched, second, sides)
    return ("", {}) if unsettled else (second, _counted(beaten, sides))


def _barred(side: Side) -> Iterator[str]:
    """Why a run takes no part, whatever the others are."""
    if side.horizon is None:
        yield "no such horizon"
    elif not side.horizon.seeds:
        yield "failed"
    else:
        yield from withheld(side.run.result, side.horizon)
