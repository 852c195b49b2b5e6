"""The rows of each picture, made from the files of a finished run.

A row is a mapping of plain values. Whatever draws takes the same rows, so that a figure in a paper
and a chart in a browser show the same numbers. Figures are those of the tidy table
(`latentbench.results.figures`); what it does not hold is computed here from the frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latentbench.reports.columns import time_text
from latentbench.reports.curves import curves_of
from latentbench.results.finished import FinishedRun, read_runs
from latentbench.results.folder import RunFolder, read_table
from latentbench.results.standing import gain_of, not_fitted, sampled, withheld
from latentbench.rollout.figures import (
    STATE_COLUMNS,
    by_depth,
    powers_of_two,
    summarize_gap,
    summarize_states,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.results.schema import Figure, HorizonResult

__all__ = [
    "BY",
    "NATS",
    "PICTURES",
    "ROLES",
    "STEEP",
    "WIDE",
    "Row",
    "rows_of",
    "runs_to_draw",
    "values_of",
    "where",
]

Row: TypeAlias = dict[str, Any]
ALL = "all"
# What every drawing of the rows says and does alike.
NATS = "nats per frame"
ROLES = {"predictor": "model", "unconditional": "control without context"}
BY = {"mean": "by its mean", "sample": "by samples"}
STEEP = 1e3  # a gap beyond which the axis is logarithmic
WIDE = 8.0  # a ratio beyond which it is
# Sums of frames: what the context is worth to each, and what stands for it without a control.
WORTH = (("gain", "nll_unconditional", "nll"), ("dnll", "nll", "nll_baseline"))
# Bounds of the folded PIT |2u - 1|, and the column that counts the frames below each.
FOLDED = ((0.5, "pit_coverage_50"), (0.9, "pit_coverage_90"))
LEAST_CONTEXTS = 2  # that make a curve
GAPS = ["horizon", "depth", "nll_teacher", "nll_rollout"]
STATES = ["horizon", "depth", *STATE_COLUMNS]
# What a rollout is seen to do, in a picture -> of `summarize_states`.
SEEN = {
    "movement": "magnitude_ratio",
    "variance": "variance_ratio",
    "energy distance": "energy_distance",
}


def runs_to_draw(folders: Sequence[Path]) -> list[FinishedRun]:
    """The runs in these folders, labelled so that they can be told apart.

    Raises:
        UsageError: one holds no finished run, or is given twice.
        DamagedFileError: a file of one is not what was written.
    """
    return read_runs(folders) if len(folders) > 1 else [FinishedRun.read(one) for one in folders]


def rows_of(what: str, runs: Sequence[FinishedRun]) -> list[Row]:
    """The rows of a picture of these runs; none where nothing of it was measured.

    Args:
        what: of `PICTURES`.
        runs: in the order they are drawn.

    Raises:
        DamagedFileError: a file of a run is not what was written.
    """
    rows = PICTURES[what]
    found = [{"run": run.label, **_names(run), **row} for run in runs for row in rows(run)]
    if what == "context" and len({row["context_ms"] for row in found}) < LEAST_CONTEXTS:
        return []
    return found


def values_of(rows: Sequence[Row], name: str) -> list[Any]:
    """The values of a column, each once, in order."""
    return list(dict.fromkeys(row[name] for row in rows))


def where(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _names(run: FinishedRun) -> Row:
    config = run.result.config
    return {"encoder": run.result.encoder.name, "predictor": config["predictor"]["name"]}


def _place(horizon: HorizonResult) -> Row:
    return {"ms": horizon.milliseconds, "k": horizon.k}


def _fitted(run: FinishedRun) -> Iterator[HorizonResult]:
    """The horizons whose numbers may be shown: those of models that were fitted."""
    for horizon in run.result.horizons:
        if horizon.seeds and not not_fitted(horizon):
            yield horizon


def _gain_rows(run: FinishedRun) -> Iterator[Row]:
    """Gain and R²_I of each horizon, with intervals.

    `note` says why it takes no part in a comparison.
    """
    for horizon in _fitted(run):
        note = "; ".join(withheld(run.result, horizon))
        for found in (gain_of(horizon), horizon.find("eval", ALL, "r2i")):
            if found is not None and found.n:
                yield _place(horizon) | _of(found) | {"note": note}


def _context_rows(run: FinishedRun) -> Iterator[Row]:
    """The same by how long the context is; a series is of one encoder, predictor and staleness."""
    names = ", ".join(_names(run).values())
    frames = run.result.config["task"]["context_frames"]
    length = 1000.0 * frames / run.result.encoder.frame_rate
    for row in _gain_rows(run):
        yield row | {"context_ms": length, "series": f"{names}, {time_text(row['ms'])} ms stale"}


def _of(found: Figure) -> Row:
    names = ("value", "low", "high", "n", "speakers", "unit")
    return {"figure": found.name, **{name: getattr(found, name) for name in names}}


def _split_rows(run: FinishedRun) -> Iterator[Row]:
    """ΔNLL, what of it was capacity, context, and what white latents would score."""
    for horizon in _fitted(run):
        whole, capacity = (horizon.find("eval", ALL, one) for one in ("dnll", "dnll_capacity"))
        gain = gain_of(horizon)
        if whole is None or capacity is None or gain is None:
            continue
        parts = {"context": -gain.value, "capacity": capacity.value}
        parts |= {"dnll": whole.value, "floor": horizon.iid_floor}
        for part, value in parts.items():
            yield _place(horizon) | {"part": part, "value": value, "n": whole.n, "unit": whole.unit}


def _curve_rows(run: FinishedRun) -> Iterator[Row]:
    """The losses of every training, one row each, as `curves.parquet` holds them."""
    times = {one.k: one.milliseconds for one in run.result.horizons}
    for row in curves_of(run.folder).to_pylist():
        k = row.pop("horizon")
        yield {"k": k, "ms": times[k], **row}


def _speaker_rows(run: FinishedRun) -> Iterator[Row]:
    """What the context is worth to each eval speaker: the mean over frames, then over seeds."""
    keys, file = ["horizon", "seed", "speaker"], RunFolder(run.folder).frames_file
    for figure, *of in WORTH:
        if (frames := read_table(file, [*keys, *of], split="eval")) is not None:
            yield from _per_speaker(run, figure, frames, *of)
            return


def _per_speaker(
    run: FinishedRun, figure: str, frames: pa.Table, minuend: str, subtrahend: str
) -> Iterator[Row]:
    fitted = {one.k: one for one in _fitted(run)}
    frames = frames.append_column("value", pc.subtract(frames[minuend], frames[subtrahend]))
    speaker = pc.cast(frames["speaker"], pa.string())
    frames = frames.set_column(frames.schema.get_field_index("speaker"), "speaker", speaker)
    means = frames.group_by(["horizon", "seed", "speaker"]).aggregate(
        [("value", "mean"), ("value", "count")]
    )
    found: dict[tuple[int, str], list[Row]] = {}
    for row in means.to_pylist():
        if row["horizon"] in fitted:
            found.setdefault((row["horizon"], row["speaker"]), []).append(row)
    for (k, name), seeds in sorted(found.items()):
        value = sum(one["value_mean"] for one in seeds) / len(seeds)
        yield _place(fitted[k]) | {
            "speaker": name,
            "each": sampled(run.result)[:-1],
            "figure": figure,
            "value": value,
            "n": seeds[0]["value_count"],
            "unit": "nats/frame",
        }


def _pit_rows(run: FinishedRun) -> Iterator[Row]:
    """The folded PIT |2u - 1| as a histogram: density in 0..0.5, 0.5..0.9 and 0.9..1.

    u is where the target lies in the prediction of its dimension. A calibrated model has density 1
    everywhere; one that is too sure has more in the last bin.
    """
    for horizon in _fitted(run):
        found = [horizon.find("eval", ALL, name) for _, name in FOLDED]
        shares = [one.value for one in found if one is not None and one.n]
        if len(shares) < len(FOLDED):
            continue
        edges = [0.0, *(edge for edge, _ in FOLDED), 1.0]
        below = [0.0, *shares, 1.0]
        for low, high, share, more in zip(edges, edges[1:], below, below[1:], strict=False):
            density = (more - share) / (high - low)
            yield _place(horizon) | {"from": low, "to": high, "density": density}


def _rollout_rows(run: FinishedRun) -> Iterator[Row]:
    """The median rollout gap by depth, at powers of two, over all seeds and utterances."""
    for horizon, depth, columns in _deep(run, GAPS):
        yield _place(horizon) | {"depth": depth} | _gap(columns)


def _life_rows(run: FinishedRun) -> Iterator[Row]:
    """What frames of a rollout do, against true ones, by depth, as `rollout.alive` looks at them.

    `dead` at the depth where they first leave what is alive. A distance of a single utterance is
    none, and has no row.
    """
    for horizon, depth, columns in _deep(run, STATES):
        told = horizon.rollout
        assert told is not None  # noqa: S101 - it has frames
        seen = vars(summarize_states(columns, 1.0))
        at = _place(horizon) | {"by": told.mode, "depth": depth, "n": len(columns["depth"])}
        for figure, name in SEEN.items():
            if not math.isnan(value := seen[name]):
                finite = math.isfinite(value)
                row = {"figure": figure, "value": value if finite else None}
                yield at | row | {"dead": told.dead_at == depth, "diverged": not finite}


def _deep(
    run: FinishedRun, names: list[str]
) -> Iterator[tuple[HorizonResult, int, Mapping[str, Any]]]:
    """The columns of the frames of a rollout at depths 1, 2, 4, ...; nothing where one is not kept.

    Of each horizon that was fitted, all seeds and utterances together.
    """
    table = read_table(RunFolder(run.folder).rollout_file, names)
    if table is None:
        return
    columns = {name: table[name].to_numpy() for name in names}
    for horizon in _fitted(run):
        inside = columns["horizon"] == horizon.k
        at = by_depth({name: values[inside] for name, values in columns.items()})
        for depth in powers_of_two(max(at, default=0)):
            if depth in at:
                yield horizon, depth, at[depth]


def _gap(columns: Mapping[str, Any]) -> Row:
    """The median gap; None where it is not finite, which `diverged` says."""
    gap = summarize_gap(columns)
    finite = math.isfinite(gap.median)
    value = float(np.float64(gap.median)) if finite else None
    return {"value": value, "n": gap.n, "non_finite": gap.non_finite, "diverged": not finite}


PICTURES: dict[str, Callable[[FinishedRun], Iterator[Row]]] = {
    "gain": _gain_rows,
    "context": _context_rows,
    "split": _split_rows,
    "curves": _curve_rows,
    "rollout": _rollout_rows,
    "life": _life_rows,
    "speakers": _speaker_rows,
    "pit": _pit_rows,
}
