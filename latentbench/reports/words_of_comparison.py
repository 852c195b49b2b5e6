"""What a comparison says, in words: rules from ranks and differences to a few plain sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.reports.columns import decimals_of, heading_of, listed, number_text, time_text
from latentbench.results.figures import SCORES
from latentbench.results.standing import BOUND, gain_of, not_fitted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.comparisons import Comparison
    from latentbench.comparisons.against import FigureDifference
    from latentbench.comparisons.ranks import Rank
    from latentbench.results.schema import Figure, HorizonResult

__all__ = ["words_of_comparison"]

BY_NLL = ("nll", "r2i")  # of what runs are ranked by


def words_of_comparison(comparison: Comparison) -> list[str]:
    """What the order is and how sure, how far information reaches, and what was left out.

    Where nothing can be ranked, what can be told apart from the first run by the headline.
    """
    if len(comparison.runs) == 1:
        return ["There is one run only: nothing to hold it against."]
    if any(one.figure for one in comparison.ranks):
        told = [*_length(comparison), *_order(comparison), *_bounds(comparison)]
        told += [*_partial(comparison), *_left_out(comparison)]
    else:
        told = [*_from_first(comparison), *_left_out(comparison)]
    if _fitted(comparison):
        told += [*_reach(comparison), *_smallest(comparison)]
    return told or ["No figure of these runs can be held against one another."]


def _length(comparison: Comparison) -> Iterator[str]:
    """How long a context matters, where the runs differ in that."""
    runs = comparison.runs
    lengths = {one.label: one.context_ms for one in runs}
    same = {(one.encoder.name, one.predictor, one.corpus) for one in runs}
    if len(same) > 1 or len(set(lengths.values())) < len(runs):
        return
    for matched in dict.fromkeys(one.matched for one in comparison.ranks):
        ranked = [one for one in comparison.ranks if one.matched == matched and one.rank]
        if len(ranked) > 1:
            yield _enough(matched, sorted((lengths[one.run], one.rank == 1) for one in ranked))


def _enough(matched: str, found: Sequence[tuple[float, bool]]) -> str:
    """Found are lengths, and whether no other is told to be better, from the shortest."""
    first = next((length for length, best in found if best), found[-1][0])
    shortest, longest = (time_text(found[at][0]) for at in (0, -1))
    shown = time_text(first)
    if first == found[0][0]:
        return (
            f"At {matched} no context longer than {shown} ms is told to help, up to {longest} ms."
        )
    if first == found[-1][0]:
        return (
            f"At {matched} the longest context, {shown} ms, is the first that no other is told to "
            "be better than: longer ones may help."
        )
    return (
        f"At {matched} a context of {shown} ms is enough: none up to {longest} ms is told to be "
        f"better, and one of {shortest} ms is worse."
    )


def _order(comparison: Comparison) -> Iterator[str]:
    """The tiers at the first staleness that has any, and at the last where they are others."""
    ranks = {
        matched: [one for one in comparison.ranks if one.matched == matched]
        for matched in dict.fromkeys(one.matched for one in comparison.ranks)
    }
    orders = {matched: found for matched, those in ranks.items() if (found := _orders(those))}
    if not orders:
        yield "No two runs can be ranked."
        return
    first, *others = orders
    yield from _told_by_all(ranks[first], first, orders[first])
    same = [one for one in others if orders[one] == orders[first]]
    if same:
        yield f"The order is the same at {listed(same)}."
    if others and others[-1] not in same:
        yield from _told_by_all(ranks[others[-1]], others[-1], orders[others[-1]])


def _bounds(comparison: Comparison) -> Iterator[str]:
    """What a place by NLL says of a model that only bounds it."""
    bound = {one.run for one in comparison.horizons if BOUND in one.result.notes}
    ranked = [one for one in comparison.ranks if one.rank is not None and one.run in bound]
    for figure in dict.fromkeys(one.figure for one in ranked if one.figure in BY_NLL):
        runs = listed(list(dict.fromkeys(one.run for one in ranked if one.figure == figure)))
        yield (
            f"The NLL of {runs} is a bound from above: by the true one the place may be better."
            if figure in SCORES
            else f"The NLLs of {runs} are bounds from above, with a context and without: the true "
            f"{heading_of(figure)} may be higher or lower."
        )


def _partial(comparison: Comparison) -> Iterator[str]:
    """That a state may be easy to predict by what it leaves out, where runs differ in that."""
    found = [one.values for one in comparison.differences if one.what == "factorization"]
    ranked = {one.run for one in comparison.ranks if one.rank and one.figure not in SCORES}
    states = [run for values in found for run, how in values.items() if how != "none"]
    if runs := [one for one in states if one in ranked]:
        yield (
            f"{listed(runs)} may leave out some of the latents, and what is left out need not be "
            "predicted: 'latentbench factorize' holds a state against as good a summary of them."
        )


def _orders(ranks: Sequence[Rank]) -> dict[str, dict[int, list[str]]]:
    """Figure -> the tiers by it: what is ranked by, and a second beside it."""
    if not (first := _tiers(ranks)):
        return {}
    found = {next(one.figure for one in ranks if one.figure): first}
    for figure in dict.fromkeys(one.beside for one in ranks if one.beside):
        by_it = [one.model_copy(update={"rank": one.rank_beside}) for one in ranks]
        found[figure] = _tiers(by_it)
    return found


def _told_by_all(
    ranks: Sequence[Rank], matched: str, orders: Mapping[str, Mapping[int, Sequence[str]]]
) -> Iterator[str]:
    """The order by the first figure, and that by a second beside it."""
    first, *others = orders
    yield _told(ranks, matched, orders[first], first)
    for figure in others:
        if orders[figure] == orders[first]:
            yield f"By {heading_of(figure)}, of how dimensions go together, the order is the same."
        else:
            yield _told(ranks, matched, orders[figure], figure)


def _tiers(ranks: Sequence[Rank]) -> dict[int, list[str]]:
    """Rank -> the runs that share it."""
    found: dict[int, list[str]] = {}
    for one in ranks:
        if one.rank is not None:
            found.setdefault(one.rank, []).append(one.run)
    return dict(sorted(found.items()))


def _told(
    ranks: Sequence[Rank], matched: str, tiers: Mapping[int, Sequence[str]], figure: str
) -> str:
    """The tiers by a figure of these ranks, which have it first or beside another."""
    name = heading_of(figure)
    values = {
        one.run: (one.value if one.figure == figure else one.value_beside) or 0.0 for one in ranks
    }
    scored = figure in SCORES  # lower is better, and it says how good a model is

    def of(run: str) -> str:
        return f"{run} ({number_text(values[run], decimals_of(figure))})"

    if len(tiers) == 1:
        (runs,) = tiers.values()
        return (
            f"At {matched} {listed([of(one) for one in runs])} cannot be told apart by {name}; "
            "that does not mean they are equal."
        )
    sign = 1 if scored else -1
    places = "; ".join(
        f"{rank}. {listed([of(one) for one in sorted(runs, key=lambda run: sign * values[run])])}"
        for rank, runs in tiers.items()
    )
    order = "the best model" if scored else "the easiest to predict"
    return (
        f"At {matched}, by {name}, from {order}: {places}. "
        "What shares a place cannot be told apart."
    )


def _left_out(comparison: Comparison) -> Iterator[str]:
    """Which runs take no part, where and why."""
    where: dict[tuple[str, str], list[str]] = {}
    for one in comparison.ranks:
        for reason in one.reasons[:1]:
            where.setdefault((one.run, reason), []).append(one.matched)
    alike: dict[tuple[str, str], list[str]] = {}
    for (run, reason), stalenesses in where.items():
        alike.setdefault((listed(stalenesses), reason), []).append(run)
    for (matched, reason), runs in alike.items():
        yield f"{listed(runs)} {_are(runs)} not ranked at {matched}: {reason}."


def _are(runs: Sequence[str]) -> str:
    return "is" if len(runs) == 1 else "are"


def _from_first(comparison: Comparison) -> Iterator[str]:
    """What differs from the first run in the headline, by run."""
    first, name = comparison.runs[0].label, heading_of(comparison.headline)
    found = [one for one in comparison.against if one.name == comparison.headline]
    for run in dict.fromkeys(one.run for one in found):
        ours = [one for one in found if one.run == run]
        apart = [one for one in ours if one.verdict == "distinguishable"]
        alike = [one.matched for one in ours if one.verdict == "not distinguishable"]
        if apart:
            told = "; ".join(f"{_difference(one)} at {one.matched}" for one in apart)
            yield f"{run} less {first}, {name}: {told}."
        if alike:
            yield (
                f"{run} and {first} cannot be told apart by {name} at {listed(alike)}; that does "
                "not mean they are equal."
            )
        for reason in dict.fromkeys(one.reason for one in ours if one.verdict == "withheld"):
            yield f"{run} cannot be held against {first}: {reason}."


def _difference(one: FigureDifference) -> str:
    decimals = decimals_of(one.name) + (2 if one.unit.endswith("/dim") else 0)
    unit = f" {one.unit}" if one.unit else ""
    value, low, high = (
        number_text(found or 0.0, decimals) for found in (one.value, one.low, one.high)
    )
    return f"{value}{unit} ({low} to {high})"


def _fitted(comparison: Comparison) -> bool:
    """Whether the figures of any row are those of fitted models."""
    return not all(not_fitted(one.result) for one in comparison.horizons)


def _reach(comparison: Comparison) -> Iterator[str]:
    """Until when the context is worth anything beyond its interval."""
    reach: dict[str, list[str]] = {}
    unsure: dict[str, None] = {}
    for one in comparison.horizons:
        if not one.result.scored.get("eval") or not_fitted(one.result) or one.result.leaky:
            continue
        gain = gain_of(one.result) or _skill(one.result)
        if gain is None or gain.low is None:
            unsure[one.run] = None
            continue
        reach.setdefault(one.run, []).extend([one.matched] if gain.low > 0 else [])
    if unknown := [run for run in unsure if run not in reach]:
        yield (
            f"Whether a context tells anything of what comes is unknown of {listed(unknown)}: "
            "there is no interval of the gain."
        )
    if not any(reach.values()):
        if reach:
            whose = listed(list(reach)) if unknown else "No model here"
            found = "found no context" if unknown else "found a context"
            yield f"{whose} {found} to tell anything of what comes."
        return
    alike: dict[str, list[str]] = {}
    for run, where in reach.items():
        alike.setdefault(f"at {listed(where)}" if where else "nowhere", []).append(run)
    told = "; ".join(f"{listed(runs)} {where}" for where, runs in alike.items())
    yield f"A context tells something of what comes: {told}."


def _skill(horizon: HorizonResult) -> Figure | None:
    """What samples gain by the context, of a model that has no density."""
    found = horizon.find("eval", "all", "energy_skill")
    return found if found is not None and found.n else None


def _smallest(comparison: Comparison) -> Iterator[str]:
    """The smallest difference that so many speakers can show."""
    figure = next((one.figure for one in comparison.ranks if one.figure), comparison.headline)
    found = [
        (one.high - one.low, one.unit, one.speakers)
        for one in comparison.against
        if one.name == figure and one.low is not None and one.high is not None
        if one.verdict != "withheld" and math.isfinite(one.high - one.low)
    ]
    if not found:
        return
    width, unit, speakers = max(found)
    decimals = decimals_of(figure) + (2 if unit.endswith("/dim") else 0)
    whose = f"{speakers} eval {comparison.sampled}"
    yield (
        f"With {whose} a difference of {heading_of(figure)} below about "
        f"{number_text(width / 2, decimals)}{f' {unit}' if unit else ''} cannot be seen."
    )
