"""A comparison as tables: the runs, their figures, what can be told apart, and what differs.

Columns of figures come in groups (likelihood, the mean, rollout). The means (frames of context,
parameters, steps) stand with the runs on the terminal, and in exports beside the figures.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from latentbench.metrics.units import NATS, PER_DIM
from latentbench.reports.columns import (
    INTERVAL,
    Place,
    compact,
    decimals_of,
    heading_of,
    is_tabled,
    shown_interval,
    shown_value,
    time_text,
    uncertainty_columns,
    unquoted,
    value_column,
)
from latentbench.reports.tables import ANY_WIDTH, BLANK, LABEL, Column, Line, Page, Table, column
from latentbench.reports.words import TITLE
from latentbench.reports.words_of_comparison import words_of_comparison
from latentbench.results.figures import FLOOR, GAP, HEADLINES, MEDIAN_GAP, NON_FINITE, SCORES
from latentbench.results.schema import SPLITS
from latentbench.results.standing import NOT_FITTED, not_fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from latentbench.comparisons import Comparison
    from latentbench.comparisons.against import FigureDifference, Verdict
    from latentbench.comparisons.circumstances import Circumstance
    from latentbench.comparisons.comparison import ComparedHorizon, ComparedRun
    from latentbench.comparisons.ranks import Rank
    from latentbench.reports.tables import Interval
    from latentbench.results.schema import HorizonResult

__all__ = ["comparison_page", "comparison_report"]

MATCHED = {"ms": "staleness", "frames": "k"}
# Absolute figures of different latents cannot be compared: they are in the CSV and JSON alone.
ABSOLUTE = ("nll", "nll_baseline")
# What is shown first, of what the runs have.
FIRST = (
    *("gain", "dnll_context", "r2i", "energy_skill", "spread_skill", "variogram_skill"),
    *("dnll", "direction_cos"),
)
DECIMALS_PER_DIM = 4
MARKS: Mapping[Verdict, str] = {
    "distinguishable": "*",
    "not distinguishable": "~",
    "no interval": "?",
    "withheld": "?",
}
LEGEND = (
    "* distinguishable: the 95 % interval excludes 0; ~ not distinguishable, which does not mean "
    "equal; ? no verdict, for the reason below."
)
REMEDIES = {
    "delta over": "The change that is predicted is not over the same time in all runs; "
    "task.step_ms=80 makes it so.",
    "scored audio": "Not the same audio was scored in all runs; evaluation.max_frames limits it "
    "in frames.",
}


def comparison_report(comparison: Comparison, *, full: bool = False) -> Iterator[Table | Line]:
    """What the terminal shows of a comparison: what it says, then one table.

    Args:
        comparison: of runs.
        full: every figure, every difference from the first run, and all circumstances.
    """
    yield Line(_title(comparison), "bold")
    yield Line()
    yield Line(TITLE, "bold")
    yield from (Line(f"- {text}") for text in words_of_comparison(comparison))
    yield Line()
    if full:
        yield from _in_full(comparison)
        return
    yield from (Line(text, "yellow") for text in _stamps(comparison))
    yield from (Line(f"Warning: {text}", "bold yellow") for text in comparison.warnings)
    yield _summary(comparison)
    yield from map(Line, _summary_notes(comparison))
    yield Line()
    yield from map(Line, _facts(comparison))
    yield from map(Line, _missing(comparison))
    yield Line(
        "--full shows every figure, its difference from the first run, and all that differs.", "dim"
    )


def _in_full(comparison: Comparison) -> Iterator[Table | Line]:
    yield _runs(comparison)
    yield from (Line(text, "yellow") for text in _stamps(comparison))
    yield from (Line(f"Warning: {text}", "bold yellow") for text in comparison.warnings)
    yield _figures(comparison, "Eval, all frames; nats are per frame", means=False)
    if comparison.against:
        yield _verdicts(comparison)
        yield Line()
        yield Line(LEGEND)
        yield from map(Line, _verdict_notes(comparison))
    yield Line()
    yield from map(Line, _remarks(comparison))
    if comparison.differences:
        yield _differences(comparison)
    else:
        yield Line()
        yield Line("Nothing differs.", "bold")
    if comparison.same:
        yield Line(f"The same in all: {', '.join(comparison.same)}", "dim")


def comparison_page(comparison: Comparison) -> Page:
    """What an export holds of a comparison; it spells the verdicts out."""
    tables = [_figures(comparison, "", means=True)]
    if comparison.against:
        tables.append(_spelt_verdicts(comparison))
    differences = [f"{one.what}: {_values(one)}" for one in comparison.differences]
    notes: dict[str, list[str]] = {
        TITLE: list(words_of_comparison(comparison)),
        "Warnings": list(comparison.warnings),
        "Stamps": list(_stamps(comparison)),
        _against(comparison): list(_verdict_notes(comparison)),
        "Remarks": list(_remarks(comparison)),
        "What differs": differences,
        "The same in all": [", ".join(comparison.same)] if comparison.same else [],
    }
    kept = {name: texts for name, texts in notes.items() if texts}
    return Page(_title(comparison), tuple(tables), kept)


def _title(comparison: Comparison) -> str:
    how = "in milliseconds" if comparison.match == "ms" else "in frames"
    return f"{len(comparison.runs)} runs side by side, staleness matched {how}"


def _stamps(comparison: Comparison) -> Iterator[str]:
    for run in comparison.runs:
        if run.stamps:
            yield f"{run.label}: [{'] ['.join(run.stamps)}]"


def _runs(comparison: Comparison) -> Table:
    """What each run is; the look-ahead only where an encoder has one."""
    runs = comparison.runs

    def over_horizons(run: ComparedRun, text: Callable[[HorizonResult], str]) -> str:
        """What is the same at every horizon that is done, as a rule."""
        done = [one.result for one in comparison.horizons if one.run == run.label]
        return "/".join(dict.fromkeys(text(one) for one in done if one.fitted)) or BLANK

    cells: dict[str, Callable[[ComparedRun], str]] = {
        "D": lambda run: over_horizons(run, lambda found: str(found.dim)),
        "Hz": lambda run: f"{run.encoder.frame_rate:.5g}",
        "look-ahead": lambda run: run.encoder.sight.removesuffix(" frames"),
        "context": lambda run: f"{run.context_frames} = {time_text(run.context_ms)} ms",
        "target": lambda run: f"Δ {time_text(run.step_ms)} ms" if run.target == "delta" else "x",
        "parameters": lambda run: over_horizons(run, lambda found: f"{found.parameters:,}"),
        "steps": lambda run: f"{run.steps:,}",
        "seeds": lambda run: ",".join(map(str, run.seeds)) or BLANK,
        "protocol": lambda run: run.protocol or BLANK,
        "utterances": lambda run: "+".join(str(run.utterances.get(one, 0)) for one in SPLITS),
    }
    if not any(run.encoder.look_ahead for run in runs):
        del cells["look-ahead"]
    if not any(run.protocol for run in runs):
        del cells["protocol"]
    names = (column("run", runs, lambda run: run.label, left=True, fold=LABEL),)
    return Table(names, (tuple(column(name, runs, cell) for name, cell in cells.items()),))


def _summary(comparison: Comparison) -> Table:
    """One table: what a reader asks for first, the rank, and the difference from the first run."""
    rows, runs = comparison.horizons, {run.label: run for run in comparison.runs}
    names = [name for name in FIRST if name in comparison.metrics]
    if "gain" in names:
        names = [name for name in names if name != "dnll_context"]
    columns = [
        column("n", rows, _count),
        column(
            comparison.sampled,
            rows,
            lambda one: _speakers(one, runs[one.run]),
        ),
        column("D", rows, lambda one: _dims(one, runs[one.run])),
    ]
    places = _places(comparison)
    values: list[Column] = []
    for name in names:
        values.append(value_column(comparison.figures, places, name))
        if name == comparison.headline:
            values += uncertainty_columns(comparison.figures, places, name, seeds=False)
    values += _ranked(comparison)
    columns += unquoted(values, [bool(one.result.seeds) and not_fitted(one.result) for one in rows])
    if differences := _differing(comparison):
        columns.append(
            column(
                f"less {comparison.runs[0].label}",
                rows,
                lambda one: _quoted(differences.get((one.matched, one.run))),
            )
        )
    return Table(
        tuple(_keys(comparison)),
        (tuple(columns),),
        "Eval, all frames; nats are per frame",
        styles=_styles(comparison),
        ruled=True,
    )


def _ranked(comparison: Comparison, *, units: bool = False) -> Iterator[Column]:
    """The score that models of the same latents are ranked by, and the rank."""
    ranks = {(one.run, one.matched): one for one in comparison.ranks}
    if not any(one.rank for one in ranks.values()):
        return
    here = [ranks.get((one.run, one.matched)) for one in comparison.horizons]
    unit_of = {one.name: one.unit for one in comparison.against} if units else {}

    def shown(figure: str, one: Rank | None) -> str:
        held = {} if one is None else {one.figure: one.value, one.beside: one.value_beside}
        value = held.get(figure)
        return BLANK if value is None else compact(value, decimals_of(figure))

    for figure in SCORES:
        if any(one is not None and figure in {one.figure, one.beside} for one in here):
            cell, unit = partial(shown, figure), unit_of.get(figure, "")
            yield column(heading_of(figure), here, cell, name=figure, unit=unit)
    yield column("rank", here, lambda one: str((one and one.rank) or BLANK))


def _speakers(one: ComparedHorizon, run: ComparedRun) -> str:
    told = {found.speakers for found in one.result.figures if found.split == "eval"}
    return str(max(told, default=0) or run.speakers)


def _dims(one: ComparedHorizon, run: ComparedRun) -> str:
    """D of what was predicted, and after a slash that of the encoder where it is another."""
    kept = one.result.dim
    if not kept:
        return BLANK
    return str(kept) if kept == run.dim else f"{kept}/{run.dim}"


def _differing(comparison: Comparison) -> dict[tuple[str, str], FigureDifference]:
    """The difference that is shown first: of what runs are ranked by there, else of the headline.

    Where runs have nothing to be ranked by, it is of what they are ranked by elsewhere.
    """
    ranked = {one.matched: one.figure for one in comparison.ranks if one.figure}
    usual = next(iter(ranked.values()), comparison.headline)
    return {
        (one.matched, one.run): one
        for one in comparison.against
        if one.name == ranked.get(one.matched, usual)
    }


def _quoted(one: FigureDifference | None) -> str:
    """A difference and its mark; without its number where a model was still learning."""
    if one is not None and one.reason.endswith(NOT_FITTED):
        one = one.model_copy(update={"value": None})
    return _marked(one)


def _summary_notes(comparison: Comparison) -> Iterator[str]:
    found = list(_differing(comparison).values())
    if not found:
        return
    yield f"less {comparison.runs[0].label}: of {_whose(found)}; {LEGEND}"
    for reason in dict.fromkeys(one.reason for one in found if one.reason):
        ones = [one for one in found if one.reason == reason]
        yield f"{', '.join(dict.fromkeys(f'{one.run} {one.matched}' for one in ones))}: {reason}"


def _whose(found: Sequence[FigureDifference]) -> str:
    """`NLL`, or `NLL at 80 ms, energy score at 160 ms`."""
    where: dict[str, dict[str, None]] = {}
    for one in found:
        where.setdefault(heading_of(one.name), {})[one.matched] = None
    if len(where) == 1:
        return next(iter(where))
    return ", ".join(f"{figure} at {' and '.join(places)}" for figure, places in where.items())


def _figures(comparison: Comparison, title: str, *, means: bool) -> Table:
    """The rows of a horizon below one another; figures are of all eval frames."""
    return Table(
        tuple(_keys(comparison)),
        tuple(map(tuple, _groups(comparison, means=means))),
        title,
        styles=_styles(comparison),
        ruled=True,
    )


def _styles(comparison: Comparison) -> tuple[str, ...]:
    return tuple("yellow" if one.result.leaky else "" for one in comparison.horizons)


def _keys(comparison: Comparison) -> list[Column]:
    """Staleness, run and k of each row, and what is not as it was asked for."""
    horizons = comparison.horizons
    keys = [
        column(MATCHED[comparison.match], horizons, lambda one: one.matched, left=True, once=True),
        column("run", horizons, lambda one: one.run, left=True, fold=LABEL),
        column("k", horizons, lambda one: str(one.result.k)),
    ]
    if any(_time(one) != one.matched for one in horizons):
        keys.append(column("is", horizons, _time))
    if any(one.result.leaky for one in horizons):
        keys.append(column("", horizons, lambda one: "leaky" if one.result.leaky else ""))
    return keys


def _time(one: ComparedHorizon) -> str:
    return f"{time_text(one.result.milliseconds)} ms"


def _groups(comparison: Comparison, *, means: bool) -> Iterator[Sequence[Column]]:
    """Likelihood, with the headline on train too, the mean, rollout, ranks, and the means."""
    headline = comparison.headline
    names = [name for name in comparison.metrics if name not in (*ABSOLUTE, headline)]
    nats = [name for name in names if comparison.figures.unit(name) == NATS]
    yield [
        column("n", comparison.horizons, _count, unit="frames"),
        *_figure(comparison, headline),
        _scaled(comparison, headline, PER_DIM),
        _on_train(comparison, headline),
        *_floor(comparison),
        *(one for name in nats for one in _figure(comparison, name)),
        *_rates(comparison),
    ]
    yield [one for name in names if name not in nats for one in _figure(comparison, name)]
    yield list(_rollout(comparison))
    yield [one for one in _ranked(comparison, units=True) if one.name not in names]
    if means:
        runs = {run.label: run for run in comparison.runs}
        rows = comparison.horizons
        yield [
            column("context", rows, lambda one: str(runs[one.run].context_frames), unit="frames",
                   name="context_frames"),
            column("parameters", rows, lambda one: f"{one.result.parameters:,}"),
            column("steps", rows, lambda one: f"{runs[one.run].steps:,}"),
        ]  # fmt: skip


def _places(comparison: Comparison, split: str = "eval") -> list[Place]:
    return [Place(one.result.k, split, run=one.run) for one in comparison.horizons]


def _count(one: ComparedHorizon) -> str:
    return str(one.result.scored.get("eval", 0)) if one.result.seeds else "failed"


def _figure(comparison: Comparison, name: str) -> Iterator[Column]:
    """The figure; beside the headline, and beside what no table has columns for, its interval."""
    places, unit = _places(comparison), comparison.figures.unit(name)
    yield value_column(comparison.figures, places, name, unit=unit)
    if name == comparison.headline or not is_tabled(name):
        yield from uncertainty_columns(comparison.figures, places, name, unit=unit, seeds=False)


def _on_train(comparison: Comparison, name: str) -> Column:
    cells = value_column(comparison.figures, _places(comparison, "train"), name).cells
    unit = f"train {comparison.figures.unit(name)}"
    return Column(heading_of(name), cells, name=f"{name}_train", unit=unit)


def _floor(comparison: Comparison) -> Iterator[Column]:
    """What latents without any temporal structure would score, where that is not 0."""
    if any(one.result.iid_floor for one in comparison.horizons):
        yield value_column(comparison.figures, _places(comparison), FLOOR, unit=NATS)


def _scaled(comparison: Comparison, name: str, unit: str) -> Column:
    """A figure in nats per frame in another unit."""

    def cell(one: ComparedHorizon) -> str:
        found = one.scale("eval", "all", name)
        if found is None:
            return BLANK
        if unit == PER_DIM:
            return compact(found.nats_per_dim, DECIMALS_PER_DIM)
        return BLANK if found.kbps is None else compact(found.kbps, 3)

    called = f"{name}_{'per_dim' if unit == PER_DIM else unit}"
    return column(heading_of(name), comparison.horizons, cell, unit=unit, name=called)


def _rates(comparison: Comparison) -> Iterator[Column]:
    """A column of kbps for each metric that is a rate anywhere."""
    scales = (scale for horizon in comparison.horizons for scale in horizon.scales)
    rates = dict.fromkeys(
        one.name
        for one in scales
        if (one.split, one.slice) == ("eval", "all") and one.kbps is not None
    )
    yield from (_scaled(comparison, name, "kbps") for name in rates)


def _rollout(comparison: Comparison) -> Iterator[Column]:
    figures, places = comparison.figures, _places(comparison)

    def non_finite(place: Place) -> str:
        found = place.find(figures, NON_FINITE)
        return BLANK if found is None else f"{found.value:.0f}/{found.n}"

    for name, unit in ((MEDIAN_GAP, "median"), (GAP, "mean")):
        cells = tuple(shown_value(place.find(figures, name), 2) for place in places)
        yield Column("rollout gap", cells, name=name, unit=unit)
    yield column("non-finite", places, non_finite, unit="of n", name=NON_FINITE)


def _against(comparison: Comparison) -> str:
    return f"Against {comparison.runs[0].label}"


def _verdicts(comparison: Comparison) -> Table:
    """A row for each horizon and run, and a mark beside each difference."""
    found: dict[tuple[str, str], dict[str, FigureDifference]] = {}
    for one in comparison.against:
        found.setdefault((one.matched, one.run), {})[one.name] = one
    rows = list(found.items())
    mixed = any(one.unit == PER_DIM for one in comparison.against)
    keys = [
        column(MATCHED[comparison.match], rows, lambda row: row[0][0], left=True, once=True),
        column("run", rows, lambda row: row[0][1], left=True, fold=LABEL),
    ]
    if mixed:
        keys.append(column("nats per", rows, lambda row: _per(row[1].values()), left=True))
    groups = []
    for name in dict.fromkeys(one.name for one in comparison.against):
        ones = [row.get(name) for _, row in rows]
        group = [column(heading_of(name), ones, _marked)]
        if name in HEADLINES or not is_tabled(name):
            group.append(column(INTERVAL, ones, _bounds, beside=True))
        groups.append(tuple(group))
    title = f"{_against(comparison)}, eval, all frames{'' if mixed else '; nats are per frame'}"
    return Table(tuple(keys), tuple(groups), title)


def _per(ones: Iterable[FigureDifference]) -> str:
    return next((one.unit.removeprefix("nats/") for one in ones if one.unit), BLANK)


def _spelt_verdicts(comparison: Comparison) -> Table:
    """A row for each difference."""
    rows = comparison.against
    keys = (
        column(MATCHED[comparison.match], rows, lambda one: one.matched, left=True),
        column("run", rows, lambda one: one.run, left=True),
        column("figure", rows, lambda one: heading_of(one.name), left=True),
    )
    columns = (
        column("unit", rows, lambda one: one.unit or BLANK, left=True),
        column("difference", rows, _difference),
        column(INTERVAL, rows, _bounds, name="interval"),
        column("verdict", rows, lambda one: one.verdict, left=True),
    )
    return Table(keys, (columns,), _against(comparison))


def _marked(one: FigureDifference | None) -> str:
    return BLANK if one is None else f"{_difference(one)} {MARKS[one.verdict]}"


def _difference(one: FigureDifference) -> str:
    return BLANK if one.value is None else compact(one.value, _decimals(one))


def _bounds(one: FigureDifference | None) -> str | Interval:
    return BLANK if one is None else shown_interval(one.low, one.high, _decimals(one))


def _decimals(one: FigureDifference) -> int:
    return DECIMALS_PER_DIM if one.unit == PER_DIM else decimals_of(one.name)


def _verdict_notes(comparison: Comparison) -> Iterator[str]:
    """What a reader of the verdicts must know, a sentence each."""
    reference, found = comparison.runs[0].label, comparison.against
    sampled = comparison.sampled
    if apart := dict.fromkeys(one.run for one in found if not one.paired):
        yield (
            f"{', '.join(apart)}: no eval {sampled[:-1]} in common with {reference}, so a "
            f"difference is between two samples of {sampled}, less sure than one of pairs, and one "
            "of the audio as well."
        )
    if speakers := sorted({one.speakers for one in found if one.speakers and one.paired}):
        yield (
            f"Differences are this run minus {reference}, paired over the "
            f"{'/'.join(map(str, speakers))} eval {sampled} both have. Intervals are over "
            f"{sampled}, the trained models being these; of many differences, one in twenty "
            "excludes 0 by chance."
        )
    if scaled := dict.fromkeys(one.run for one in found if one.unit == PER_DIM):
        yield (
            f"{', '.join(scaled)}: not the latents of {reference}, so nats are per dimension: "
            "a nat per frame of one is not comparable with a nat per frame of the other, and "
            "cosine and R² depend on the scale of the latents."
        )
    reasons: dict[tuple[str, str], list[FigureDifference]] = {}
    for one in found:
        if one.reason:
            reasons.setdefault((one.verdict, one.reason), []).append(one)
    for (verdict, reason), ones in reasons.items():
        yield f"{_where(comparison, ones)}: {verdict}, {reason}"


def _where(comparison: Comparison, found: Sequence[FigureDifference]) -> str:
    """`dac, 80 ms, 160 ms`; the figures too where they are not all of those rows."""
    rows = dict.fromkeys((one.matched, one.run) for one in found)
    places = [*dict.fromkeys(one.run for one in found), *dict.fromkeys(one for one, _ in rows)]
    if len(found) != sum((one.matched, one.run) in rows for one in comparison.against):
        places += dict.fromkeys(heading_of(one.name) for one in found)
    return ", ".join(places)


def _facts(comparison: Comparison) -> Iterator[str]:
    """What each predictor tells of itself, at the first staleness that it has."""
    first = {one.run: one for one in reversed(comparison.horizons)}
    for run in comparison.runs:
        if run.label in first and (facts := first[run.label].result.facts):
            told = ", ".join(f"{name} {value:.3g}" for name, value in facts.items())
            yield f"{run.label}, {first[run.label].matched}: {told}"


def _missing(comparison: Comparison) -> Iterator[str]:
    """What is missing or failed."""
    for failure in comparison.failures:
        yield f"{failure.label} is missing: {failure.error}"
    there = {(one.matched, one.run) for one in comparison.horizons}
    for matched in dict.fromkeys(one.matched for one in comparison.horizons):
        labels = (run.label for run in comparison.runs)
        if absent := [label for label in labels if (matched, label) not in there]:
            yield f"{matched}: not a horizon of {', '.join(absent)}"
    for one in comparison.horizons:
        for error in one.result.errors:
            yield f"{one.run}, {one.matched} failed: {error}"


def _remarks(comparison: Comparison) -> Iterator[str]:
    """What is missing, failed, blank or leaky."""
    yield from _missing(comparison)
    for one in comparison.horizons:
        for note in one.result.notes if one.result.seeds else ():
            yield f"{one.run}, {one.matched}: {note}"
    for run in comparison.runs:
        of_run = [one.result.k for one in comparison.horizons if one.run == run.label]
        if leaky := [str(k) for k in of_run if k <= run.encoder.look_ahead]:
            yield (
                f"{run.label}, k={','.join(leaky)}: leaky, within the encoder's "
                f"look-ahead of {run.encoder.sight}: the context has seen the target"
            )
    differing = {found.what for found in comparison.differences}
    yield from (text for what, text in REMEDIES.items() if what in differing)


def _differences(comparison: Comparison) -> Table:
    found = comparison.differences
    return Table(
        (
            column("", found, lambda one: one.what, left=True),
            column("", found, _values, left=True, fold=ANY_WIDTH),
        ),
        title="What differs",
    )


def _values(one: Circumstance) -> str:
    """`80.0 ms (mimi); 20.0 ms (soundstream, logmel)`."""
    runs: dict[str, list[str]] = {}
    for label, value in one.values.items():
        runs.setdefault(value, []).append(label)
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in runs.items())
