"""The report of finished runs: one HTML file that holds all it shows."""

from __future__ import annotations

import math
from dataclasses import astuple, fields, replace
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import yaml

from latentbench.cards.card import card_in
from latentbench.comparisons import compare_runs
from latentbench.pictures.card import cards_drawn, cards_told
from latentbench.pictures.page import asset, bundle, render
from latentbench.pictures.rows import runs_to_draw
from latentbench.pictures.sounds import sounds_of
from latentbench.reports.columns import compact, time_text
from latentbench.reports.comparison import comparison_page
from latentbench.reports.rollout import rollout_report, words_of_rollout
from latentbench.reports.run import failures, summary_table, taken_over, title_of
from latentbench.reports.tables import BLANK, Table, column
from latentbench.reports.words import words_of_run
from latentbench.reports.words_of_comparison import words_of_comparison
from latentbench.results.figures import FigureRow, Figures
from latentbench.results.folder import RunFolder, read_table
from latentbench.results.standing import not_fitted, sampled, worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.comparisons import Comparison
    from latentbench.explain.explanation import Explanation
    from latentbench.pictures.charts import Charts
    from latentbench.pictures.rows import Row
    from latentbench.plugins import Registry
    from latentbench.results.finished import FinishedRun
    from latentbench.results.schema import Result
    from latentbench.rollout.curves import RolloutCurves

__all__ = ["provenance_of", "report_of"]

WORST = 10  # frames of a run
DISTANCE = "distance"
HEADINGS = {
    "gain": "What the context is worth",
    "context": "How long a context matters",
    "split": "What ΔNLL is made of",
    "speakers": "Speaker by speaker",
    "curves": "How the networks trained",
    "rollout": "On its own frames",
    "life": "What its own frames do",
    "pit": "How honest its uncertainty is",
    DISTANCE: "Unusual contexts",
}
READINGS = {
    "gain": "The gain G, and R²_I by which encoders are compared, with 95 % intervals over "
    "speakers; above 0 is good. A hollow mark takes no part in a comparison.",
    "context": "The same by how long the context is: where the curve no longer rises beyond its "
    "intervals, more context is worth nothing to this model.",
    "split": "ΔNLL against the baseline: what a larger density wins without a context (capacity), "
    "and what the context wins. Below 0 is good.",
    "speakers": "A mark is the mean over the frames of an eval speaker.",
    "curves": "On train as the networks were trained, on validation where speakers were kept for "
    "it.",
    "rollout": "NLL under the model's own past, less NLL under the true one; 0 is as good as the "
    "truth.",
    "life": "Frames of the model's own, by its mean, or by samples where it gives nothing else, "
    "against true ones of the same depth. They are alive while they change, and vary, half to "
    "twice as much: the shaded band. Energy distance: 0 is one distribution, at most 1.",
    "pit": "How far targets lie from the median of their prediction, as a density: 1 everywhere "
    "where the model is calibrated, more at the right where it is too sure.",
    DISTANCE: "NLL of frames by how far their context is from the mean of those of train, in "
    "standard deviations. A mean far above its median is made by few frames.",
}


def report_of(
    folders: Sequence[Path],
    registry: Registry | None = None,
    explained: Sequence[Explanation] = (),
    rolled: Sequence[RolloutCurves] = (),
) -> str:
    """The report of the runs in these folders; several are compared.

    Args:
        folders: of finished runs.
        registry: where the metrics of the runs are; None: of what is installed.
        explained: what was found of the frames of each, in the same order; may be left out.
        rolled: how the models of each roll out, likewise.

    Raises:
        UsageError: a folder holds no finished run, or Altair or vl-convert is missing.
        DamagedFileError: a file of a run is not what was written.
    """
    vega_lite, script = bundle()
    from latentbench.pictures.charts import charts_of, distance_charts  # noqa: PLC0415 - an extra

    runs = runs_to_draw(folders)
    comparison = compare_runs(runs, registry=registry) if len(runs) > 1 else None
    by = "/".join(dict.fromkeys(sampled(run.result)[:-1] for run in runs))
    drawn = [
        _picture(what, by, charts)
        for what in HEADINGS
        if what != DISTANCE and (charts := charts_of(what, runs)) is not None
    ]
    if explained:
        named = {run.label: one for run, one in zip(runs, explained, strict=True)}
        drawn.append(_picture(DISTANCE, by, distance_charts(named)))
    lives = [_lived(run, one) for run, one in zip(runs, rolled, strict=False)]
    cards = {run.label: one for run in runs if (one := card_in(run.folder)) is not None}
    drawn += cards_drawn(cards)
    worst = [table for run in runs for table in _worst(run)]
    sounds = sounds_of(runs)
    contents = [
        ("says", "What this says"),
        *([("comparison", "Side by side")] if comparison else []),
        *((one["name"], one["heading"]) for one in drawn),
        *([("lives", "Until when it lives")] if lives else []),
        *([("cards", "The latents")] if cards else []),
        *([("sounds", "How it sounds")] if sounds else []),
        *([("worst", "The worst frames")] if worst else []),
        ("figures", "All figures"),
        ("provenance", "Provenance"),
    ]
    return render(
        "report.html",
        [script, asset("charts.js"), asset("report.js")],
        title=_title(runs),
        contents=[{"name": name, "heading": heading} for name, heading in contents],
        runs=list(map(_told, runs)),
        comparison=comparison and _compared(comparison),
        pictures=drawn,
        lives=lives,
        cards=cards_told(cards),
        sounds=sounds,
        worst=worst,
        causes=[
            (run.label, one.summary, one.advice) for run, one in zip(runs, explained, strict=False)
        ],
        figures=_tidy(Figures(row for run in runs for row in Figures.of(run.result, run.label))),
        vega_lite=vega_lite,
    )


def _picture(what: str, by: str, charts: Charts) -> dict[str, Any]:
    """A picture as the template takes it, of runs that are split by speaker or file."""
    heading, reading = (worded(of[what], by) for of in (HEADINGS, READINGS))
    return {"name": what, "heading": heading, "reading": reading, "charts": charts}


def _title(runs: Sequence[FinishedRun]) -> str:
    return title_of(runs[0].result) if len(runs) == 1 else f"{len(runs)} runs side by side"


def _told(run: FinishedRun) -> dict[str, Any]:
    """What is said of one run."""
    result = run.result
    return {
        "label": run.label,
        "title": title_of(result),
        "stamps": result.stamps,
        "says": words_of_run(result),
        "summary": summary_table(result),
        "notes": list(failures(result)),
        "provenance": dict(provenance_of(result)),
        "config": yaml.safe_dump(result.config, sort_keys=False, allow_unicode=True),
    }


def _lived(run: FinishedRun, found: RolloutCurves) -> dict[str, Any]:
    """Until when rollouts of a run stay alive, and their tables."""
    shown = rollout_report(found, full=True)
    tables = [one for one in shown if isinstance(one, Table)]
    return {"label": run.label, "says": words_of_rollout(found), "tables": tables}


def provenance_of(result: Result) -> Iterator[tuple[str, str]]:
    """What made the numbers, as names and texts."""
    made = result.provenance
    yield "protocol", result.protocol or BLANK
    commit = f", commit {made.git_commit}" if made.git_commit else ""
    yield "latentbench", f"{made.latentbench}{commit}"
    yield "machine", f"{made.platform}, {made.device}"
    yield "Python", made.python
    yield "libraries", _listed(made.libraries)
    yield "preparation", made.preparation or BLANK
    yield "encoder", _listed(result.encoder.fingerprint)
    yield "corpus", _listed(result.corpus.identity)
    yield "digests", _listed(made.digests)
    yield "seconds", _listed({name: f"{value:.1f}" for name, value in made.seconds.items()})
    if models := taken_over(result):
        yield "taken over", f"{models}; their time is not in the seconds"
    yield "memory", f"{made.peak_memory_bytes / 2**20:.0f} MiB at most"


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or BLANK


def _compared(comparison: Comparison) -> dict[str, Any]:
    page = comparison_page(comparison)
    said = {"What this says", "Warnings"}  # stand above
    notes = {name: texts for name, texts in page.notes.items() if name not in said}
    return {
        "says": words_of_comparison(comparison),
        "warnings": comparison.warnings,
        "page": replace(page, notes=notes),
    }


def _worst(run: FinishedRun) -> Iterator[Table]:
    """The eval frames of highest NLL at the smallest staleness that was fitted."""
    fitted = [one for one in run.result.horizons if one.fitted and not not_fitted(one)]
    if not fitted:
        return
    first, file = fitted[0], RunFolder(run.folder).frames_file
    names = ("utterance", "speaker", "frame", "nll", "nll_baseline")
    frames = read_table(file, names, split="eval", horizon=first.k, seed=first.seeds[0])
    if frames is None:
        return
    top = pc.select_k_unstable(frames, WORST, [("nll", "descending")])
    rows: list[Row] = frames.take(top).to_pylist()
    hertz, whose = run.result.encoder.frame_rate, sampled(run.result)[:-1]
    yield Table(
        (column("utterance", rows, lambda row: str(row["utterance"]), left=True),),
        (
            (
                column(whose, rows, lambda row: str(row["speaker"]), left=True),
                column("at", rows, lambda row: f"{row['frame'] / hertz:.2f}", unit="s"),
                column("NLL", rows, lambda row: compact(row["nll"], 2), unit="nats"),
                column("baseline", rows, lambda row: compact(row["nll_baseline"], 2), unit="nats"),
            ),
        ),
        title=f"{run.label}, {time_text(first.milliseconds)} ms, seed {first.seeds[0]}",
    )


def _tidy(figures: Figures) -> dict[str, Any]:
    """The figures of all eval frames as cells; all of them as the texts of two files."""
    named = [
        {"name": one.name, "number": str(one.type) not in ("str", "str | None")}
        for one in fields(FigureRow)
    ]
    rows = list(map(astuple, figures.where(split="eval", slice="all")))
    table = figures.to_arrow()
    return {
        "columns": named,
        "rows": [[_cell(value) for value in row] for row in rows],
        "csv": figures.to_csv(),
        "json": {
            name: [_plain(one) for one in table[name].to_pylist()] for name in table.schema.names
        },
    }


def _plain(value: Any) -> Any:
    """JSON knows no infinity and no nan; they are told as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> dict[str, str]:
    """A text, and the number it is sorted by; empty where it is none."""
    if value is None or isinstance(value, str):
        return {"text": value or "", "sort": ""}
    return {"text": f"{value:.6g}" if isinstance(value, float) else str(value), "sort": str(value)}
