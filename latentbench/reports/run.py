"""A run in words and one table; in full as tables for each slice, train below eval.

Columns of the full tables come in groups: likelihood, its parts, direction and magnitude, rollout.
80 columns of the terminal hold the first in one table, 120 two or three.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.corpora.selection import left_out
from latentbench.errors import counted
from latentbench.escapes import printable
from latentbench.latents.degeneracy import degeneracies
from latentbench.metrics.units import is_rate, scale
from latentbench.reports.columns import (
    Place,
    compact,
    is_tabled,
    shown_value,
    tabled_names,
    time_text,
    uncertainty_columns,
    unquoted,
    value_column,
)
from latentbench.reports.reporter import Reporter
from latentbench.reports.tables import BLANK, Column, Line, Page, Table, column, show
from latentbench.reports.words import TITLE, words_of_run
from latentbench.results.figures import (
    FLOOR,
    GAP,
    HEADLINES,
    MEDIAN_GAP,
    NON_FINITE,
    Figures,
    median_gap_at,
)
from latentbench.results.horizons import horizons_csv
from latentbench.results.standing import not_fitted, sampled, scored_speakers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from latentbench.reports.plugin import TableOptions
    from latentbench.results.figures import FigureRow
    from latentbench.results.schema import HorizonResult, Result, Split

    Row = tuple[HorizonResult, Split]

__all__ = [
    "CsvReporter",
    "JsonReporter",
    "TableReporter",
    "failures",
    "remarks",
    "run_page",
    "run_report",
    "summary_table",
    "taken_over",
    "title_of",
]

ALL = "all"
EVAL_THEN_TRAIN: tuple[Split, Split] = ("eval", "train")
LIKELIHOOD = ("nll", "nll_baseline", "dnll")
PARTS = ("dnll_context", "dnll_capacity", "x_gain")
UNCERTAIN = ("gain", "dnll", "dnll_context", "x_gain")
# What is shown first: of Phase 1, and where the gain is measured.
FIRST = {
    False: ("dnll", "dnll_context", "dnll_capacity", "direction_cos", "logmag_r2"),
    True: ("gain", "r2i", "energy_skill", "spread_skill", "dnll", "dnll_capacity"),
}
SCALED = {"dnll": "ΔNLL", "x_gain": "x gain"}
SKIPPED_SHOWN = 3
NOT_ASKED = "not among evaluation.metrics"


class TableReporter(Reporter):
    """Writes the title, what it says, the figures, and what failed or was left out."""

    options: TableOptions

    def report(self, result: Result, console: Console) -> None:
        """Write the result as wide as the console, which has 80 columns or more."""
        show(run_report(result, full=self.options.full), console)


class CsvReporter(Reporter):
    """Writes what `horizons.csv` holds, whatever the width of the console."""

    def report(self, result: Result, console: Console) -> None:
        """Write the CSV text and nothing else."""
        console.file.write(horizons_csv(result))


class JsonReporter(Reporter):
    """Writes what `result.json` holds, whatever the width of the console."""

    def report(self, result: Result, console: Console) -> None:
        """Write the JSON text and nothing else."""
        console.file.write(printable(result.to_json(), keep="\n"))


def run_report(result: Result, *, full: bool = False) -> Iterator[Table | Line]:
    """What the terminal shows of a run.

    Args:
        result: of the run.
        full: every figure, on train too and of every slice; else one table of all eval frames.
    """
    stamps = tuple((f" [{stamp}]", "bold yellow") for stamp in result.stamps)
    yield Line(title_of(result), "bold", stamps)
    yield from (Line(text, "dim") for text in _circumstances(result))
    yield Line()
    yield Line(TITLE, "bold")
    yield from (Line(f"- {text}") for text in words_of_run(result))
    yield from _tables(result, units=False) if full else [summary_table(result)]
    yield Line()
    yield from map(Line, remarks(result) if full else failures(result))
    if not full:
        yield Line("--full shows train, slices, rollouts and remarks.", "dim")


def run_page(result: Result) -> Page:
    """What an export holds of a run: the same, and units."""
    notes = {
        "Stamps": result.stamps,
        "Circumstances": list(_circumstances(result)),
        "Remarks": list(remarks(result)),
    }
    kept = {name: texts for name, texts in notes.items() if texts}
    return Page(title_of(result), tuple(_tables(result, units=True)), kept)


def title_of(result: Result) -> str:
    """What was run, in a few words."""
    predictor, baseline = (result.config[one]["name"] for one in ("predictor", "baseline"))
    return f"{result.encoder.name} on {result.corpus.name}, {predictor} against {baseline}"


def _circumstances(result: Result) -> Iterator[str]:
    corpus, training = result.corpus, result.config["training"]
    for split in EVAL_THEN_TRAIN:
        hours = corpus.seconds[split] / 3600
        audio = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
        yield (
            f"{split}: {counted(len(corpus.speakers[split]), sampled(result)[:-1])}, "
            f"{counted(corpus.utterances[split], 'utterance')}, {audio}"
        )
    parameters = sorted({horizon.parameters for horizon in result.horizons if horizon.fitted})
    sizes = "/".join(f"{count:,}" for count in parameters)
    how = (
        f"{_trained(result)} of {counted(training['batch_size'], 'frame')}"
        if result.steps
        else "fitted in closed form"
    )
    seeds = result.config["seeds"]
    told = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    yield f"{sizes} parameters, {how}, {told}" if parameters else f"no model was fitted, {told}"
    if models := taken_over(result):
        yield f"taken over, so in no time: {models}"
    if result.protocol:
        yield f"protocol: {result.protocol}"


def taken_over(result: Result) -> str:
    """Which networks another run of the comparison had trained, and which run."""
    found: dict[str, set[str]] = {}
    for horizon in result.horizons:
        for role, runs in horizon.taken_over.items():
            if role in horizon.convergence:  # what is of closed form takes no time anyhow
                found.setdefault(", ".join(runs), set()).add(role.replace("_", " "))
    return "; ".join(f"{', '.join(sorted(roles))} of {runs}" for runs, roles in found.items())


def _trained(result: Result) -> str:
    """The steps that were taken: one number, or from the fewest to the most of any network."""
    fitted = (ones for horizon in result.horizons for ones in horizon.convergence.values())
    taken = [one.steps for ones in fitted for one in ones] or [result.steps]
    fewest, most = min(taken), max(taken)
    return counted(most, "step") if fewest == most else f"{fewest:,} to {most:,} steps"


def summary_table(result: Result) -> Table:
    """One table: the figures of all eval frames that a reader asks for first.

    Of a horizon whose models were not fitted it shows no number that could be quoted.
    """
    rows = result.horizons
    figures = Figures.of(result)
    unfit = [bool(one.seeds) and not_fitted(one) for one in rows]
    measured = {one.name for found in rows for one in found.figures}
    names = [one for one in FIRST["gain" in measured] if one in measured]
    known = {*FIRST[False], *FIRST[True], *LIKELIHOOD, *PARTS, *tabled_names()}
    names += sorted(measured - known)
    columns: list[Column] = []
    places = [Place(one.k) for one in rows]
    first = next((one for one in HEADLINES if one in names), "")
    for name in names:
        columns.append(value_column(figures, places, name))
        if name == first or not is_tabled(name):
            columns += uncertainty_columns(figures, places, name, seeds=name != first)
    shown = unquoted(columns, unfit)
    counts = (
        column("n", rows, lambda one: str(one.scored.get("eval", 0)) if one.seeds else "failed"),
        column(sampled(result), rows, lambda one: _speakers(result, one)),
    )
    keys = (
        column("k", rows, lambda one: str(one.k)),
        column("ms", rows, lambda one: time_text(one.milliseconds)),
    )
    return Table(keys, ((*counts, *shown),), title="Eval, all frames; nats are per frame")


def _speakers(result: Result, horizon: HorizonResult) -> str:
    """Eval speakers whose frames were scored."""
    return str(scored_speakers(result, horizon)) if horizon.scored.get("eval") else BLANK


def _tables(result: Result, *, units: bool) -> Iterator[Table]:
    rows = [(horizon, split) for horizon in result.horizons for split in EVAL_THEN_TRAIN]
    keys = (
        column("k", rows, lambda row: str(row[0].k)),
        column("ms", rows, lambda row: time_text(row[0].milliseconds)),
        column("split", rows, lambda row: row[1], left=True),
    )
    figures = Figures.of(result)
    for slice_ in result.slices:
        yield Table(
            keys,
            tuple(_groups(result, figures, slice_, rows, units=units)),
            title="All frames" if slice_ == ALL else f"Slice {slice_}",
            styles=tuple("dim" if split == "train" else "" for _, split in rows),
        )


def _groups(
    result: Result, figures: Figures, slice_: str, rows: Sequence[Row], *, units: bool
) -> Iterator[tuple[Column, ...]]:
    measured = dict.fromkeys(one.name for found in result.horizons for one in found.figures)
    names = list(measured) or LIKELIHOOD  # where every cell failed
    places = [Place(horizon.k, split, slice_) for horizon, split in rows]
    yield (_counts(slice_, rows), *_figures(figures, places, LIKELIHOOD, units=units))
    if parts := [name for name in PARTS if name in names]:
        # A closed form of all frames, whatever the slice.
        whole = [Place(horizon.k, split) for horizon, split in rows]
        floor = value_column(figures, whole, FLOOR, unit=figures.unit(FLOOR) if units else "")
        yield (*_figures(figures, places, parts, units=units), floor)
    others = [name for name in names if name not in (*LIKELIHOOD, *PARTS)]
    yield tuple(_figures(figures, places, others, units=units))
    if slice_ == ALL:
        yield tuple(_rollout(result, figures, places))


def _figures(
    figures: Figures, places: Sequence[Place], names: Sequence[str], *, units: bool
) -> Iterator[Column]:
    """Each figure, and over all frames what is known of its uncertainty beside it."""
    for name in names:
        unit = figures.unit(name) if units else ""
        yield value_column(figures, places, name, unit=unit)
        if places[0].slice == ALL and (name in UNCERTAIN or not is_tabled(name)):
            yield from uncertainty_columns(figures, places, name, unit=unit)


def _counts(slice_: str, rows: Sequence[Row]) -> Column:
    def text(row: Row) -> str:
        horizon, split = row
        if not horizon.seeds:
            return "failed"
        counts = {one.n for one in horizon.figures if (one.split, one.slice) == (split, slice_)}
        return "/".join(map(str, sorted(counts)))

    return column("n", rows, text)


def _rollout(result: Result, figures: Figures, places: Sequence[Place]) -> Iterator[Column]:
    """Mean, median, n and the count of non-finite frames of the gap, beside the eval rows."""

    def of(heading: str, name: str, text: Callable[[FigureRow], str], called: str = "") -> Column:
        def cell(place: Place) -> str:
            if place.find(figures, GAP) is None:
                return ""
            found = place.find(figures, name)
            return BLANK if found is None else text(found)

        return column(heading, places, cell, name=called or name)

    def gap(found: FigureRow) -> str:
        return shown_value(found, 2)

    yield of("rollout n", GAP, lambda found: str(found.n), "rollout_n")
    yield of("gap mean", GAP, gap)
    yield of("median", MEDIAN_GAP, gap)
    yield of("non-finite", NON_FINITE, lambda found: f"{found.value:.0f}")
    rollouts = (one.rollout for one in result.horizons if one.rollout is not None)
    for depth in sorted({gap.depth for rollout in rollouts for gap in rollout.depths}):
        yield of(f"med j={depth}", median_gap_at(depth), gap)


def remarks(result: Result) -> Iterator[str]:
    """The scale of k = 1, then what failed, is blank, leaks, degenerates or was skipped."""
    yield from _scale(result)
    for horizon in result.horizons:
        yield from (f"k={horizon.k} failed: {error}" for error in horizon.errors)
    yield from _notes(result)
    yield from _of_data(result)


def failures(result: Result) -> Iterator[str]:
    """What a reader must know even in short: what failed, leaks, degenerates or was skipped."""
    for horizon in result.horizons:
        yield from (f"k={horizon.k} failed: {error}" for error in horizon.errors)
    yield from (note for note in _notes(result) if NOT_ASKED not in note)
    yield from _of_data(result)


def _of_data(result: Result) -> Iterator[str]:
    if leaky := [str(horizon.k) for horizon in result.horizons if horizon.leaky]:
        yield (
            f"k={','.join(leaky)}: leaky, within the encoder's look-ahead of "
            f"{result.encoder.sight}: the context has seen the target"
        )
    for side, facts in result.latents.items():
        yield from (f"Latents, {side}: {found.sentence}" for found in degeneracies(facts))
    yield from left_out(result.corpus.counts)
    if skipped := result.corpus.skipped:
        named = [printable(f"{one.utterance} ({one.reason})") for one in skipped[:SKIPPED_SHOWN]]
        if (more := len(skipped) - SKIPPED_SHOWN) > 0:
            named.append(f"and {more} more, named in result.json")
        yield f"{counted(len(skipped), 'utterance')} skipped: {', '.join(named)}"


def _scale(result: Result) -> Iterator[str]:
    """ΔNLL at k = 1 in every unit, as the original put it, and the gain that is a rate."""
    target, hertz = result.config["task"]["target"], result.encoder.frame_rate
    for horizon in result.horizons:
        for name, heading in SCALED.items():
            found = horizon.find("eval", ALL, name)
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
    way = "saved" if kbps <= 0 else "lost"
    return f" = {abs(kbps):.2f} kbps at {hertz:g} Hz {way} against the baseline"


def _notes(result: Result) -> Iterator[str]:
    """Why figures are blank; one line for all horizons of the same reason."""
    horizons: dict[str, list[str]] = {}
    for horizon in result.horizons:
        for note in horizon.notes if horizon.seeds else ():  # else its error says it
            horizons.setdefault(note, []).append(str(horizon.k))
    for note, ks in horizons.items():
        yield f"k={','.join(ks)}: {note}"
