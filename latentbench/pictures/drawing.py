"""The pictures of papers, in matplotlib: one function for each, over the rows of `rows.py`."""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from latentbench.errors import UsageError, first_line, nearest
from latentbench.pictures.rows import (
    BY,
    NATS,
    PICTURES,
    ROLES,
    STEEP,
    WIDE,
    Row,
    rows_of,
    values_of,
    where,
)
from latentbench.reports.columns import time_text
from latentbench.results.standing import no_nll, not_fitted
from latentbench.rollout.alive import ALIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentbench.results.finished import FinishedRun

__all__ = ["FORMATS", "draw", "picture"]

FORMATS = ("pdf", "svg", "png")
MARKERS = "osD^vP*"
STALENESS = "staleness of the context"
APART = 0.06  # of a factor of two: what parts runs that share a staleness
# Left out of the file, so that the same figures make the same bytes.
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
NOTHING = {
    "gain": "the control without a context was not fitted; give the run controls=[unconditional]",
    "context": "contexts of two lengths are needed, and the control without a context; see compare "
    "--vary task.context_ms=80,640",
    "split": "it takes dnll and dnll_capacity in evaluation.metrics, and controls=[unconditional]",
    "curves": "nothing was trained by gradient descent",
    "rollout": "nothing was rolled out that has a log-density; give the run rollout.utterances",
    "life": "nothing was rolled out; give the run rollout.utterances",
    "speakers": "there are no frames with nll_unconditional or nll_baseline",
    "pit": "it takes pit_coverage_50 and pit_coverage_90 in evaluation.metrics",
}
OF_NLL = ("gain", "context", "split", "rollout", "speakers")


def picture(what: str, runs: Sequence[FinishedRun], form: str, style: str | Path = "") -> bytes:
    """The bytes of a picture's file; the same runs and style make the same bytes.

    Args:
        what: of `gain`, `context`, `split`, `curves`, `rollout`, `life`, `speakers`, `pit`.
        runs: to draw together.
        form: `pdf`, `svg` or `png`.
        style: a style file of matplotlib, or the name of one; it wins over ours.

    Raises:
        UsageError: there is nothing to draw, no such style, or matplotlib is missing.
        DamagedFileError: a file of a run is not what was written.
    """
    with _styled(style):
        file = io.BytesIO()
        _drawn(what, runs).savefig(file, format=form, metadata=UNDATED[form])
    return file.getvalue()


def draw(what: str, runs: Sequence[FinishedRun], style: str | Path = "") -> Figure:
    """The same as a figure of matplotlib; arguments and errors as of `picture`."""
    with _styled(style):
        return _drawn(what, runs)


@contextmanager
def _styled(style: str | Path) -> Iterator[None]:
    """Our style, and over it the one that is given.

    Raises:
        UsageError: matplotlib is missing, or the style cannot be read.
    """
    try:
        import matplotlib.style  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise UsageError(
            "Pictures need matplotlib, which is not installed.",
            "pip install 'latentbench[pictures]'",
        ) from None
    with as_file(files("latentbench.pictures") / "paper.mplstyle") as ours:
        # A label is what a run is called, never mathematics.
        layers: list[Any] = [ours, *([style] if style else []), {"text.parse_math": False}]
        try:
            context = matplotlib.style.context(layers)
            context.__enter__()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--style {style} cannot be read: {first_line(error)}",
                "Give a style file of matplotlib, or the name of one it has, as 'grayscale'.",
            ) from None
    try:
        yield
    finally:
        context.__exit__(None, None, None)


def _drawn(what: str, runs: Sequence[FinishedRun]) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    if what not in PICTURES:
        raise UsageError(f"There is no picture '{what}'.", nearest(what, PICTURES))
    rows = rows_of(what, runs)
    if not rows:
        raise UsageError(f"There is nothing to draw of '{what}'.", _why_nothing(what, runs))
    figure = Figure()
    DRAWERS[what](_Sheet(figure), rows)
    return figure


def _why_nothing(what: str, runs: Sequence[FinishedRun]) -> str:
    horizons = [one for run in runs for one in run.result.horizons if one.fitted]
    if not horizons:
        return "No horizon has a model: its cells failed, or no utterance is long enough."
    if what != "curves" and all(map(not_fitted, horizons)):
        return "No horizon has models that were fitted; '--what curves' shows how they trained."
    if what in OF_NLL and (reasons := dict.fromkeys(map(no_nll, horizons))) and all(reasons):
        return f"There is no NLL: {'; '.join(reasons)}. '--what life' shows its rollouts."
    return f"{NOTHING[what][0].upper()}{NOTHING[what][1:]}."


@dataclass
class _Sheet:
    """A figure that is filled panel by panel."""

    figure: Figure

    def panels(
        self, count: int, columns: int = 1, *, sharex: bool = False, sharey: bool = False
    ) -> list[Axes]:
        """So many panels, as high each as the style's figure."""
        down = -(-count // columns)
        height = self.figure.get_figheight() * (1.0 if columns == 1 else 0.72)
        self.figure.set_figheight(height * down)
        grid = self.figure.subplots(down, columns, sharex=sharex, sharey=sharey, squeeze=False)
        for spare in grid.flat[count:]:
            spare.set_axis_off()
        return list(grid.flat[:count])

    def by_run(self, rows: Sequence[Row]) -> Iterator[tuple[Axes, list[Row]]]:
        """A panel for each run, named where there are several, and its rows."""
        runs = values_of(rows, "run")
        for axes, run in zip(self.panels(len(runs), sharex=True, sharey=True), runs, strict=True):
            if len(runs) > 1:
                axes.set_title(run)
            yield axes, where(rows, run=run)

    def finish(self, across: str = "") -> None:
        """Say below the last panel what is across, and above all what those of the first mean."""
        first, last = self.figure.axes[0], self.figure.axes[-1]
        if across:
            last.set_xlabel(across)
        found = dict(zip(*reversed(first.get_legend_handles_labels()), strict=True))
        if len(found) > 1:
            widest = max(map(len, found))
            columns = max(1, min(len(found), 60 // (widest + 6)))
            self.figure.legend(found.values(), found, loc="outside upper center", ncols=columns)


def _name(text: str) -> str:
    """A label as it is; matplotlib would leave out of a legend what begins with `_`."""
    return f" {text}" if text.startswith("_") else text


def _by_time(sheet: _Sheet, rows: list[Row], *, series: str, time: str, of: str) -> None:
    """Gain above, R²_I below it, by a time; hollow where a row takes no part in a comparison."""
    labels = {"gain": f"gain, {NATS}", "r2i": "R²_I, per dimension"}
    names = [name for name in labels if where(rows, figure=name)]
    panels = sheet.panels(len(names), sharex=True)
    times = sorted(values_of(rows, time))
    for axes, name in zip(panels, names, strict=True):
        axes.axhline(0.0, color="0.4", linewidth=0.6)
        for number, one in enumerate(values_of(rows, series)):
            own = sorted(where(rows, figure=name), key=lambda row: float(row[time]))
            _points(axes, where(own, **{series: one}), one, number, time)
        axes.set_ylabel(labels[name])
        axes.set_xscale("log", base=2)
        axes.set_xticks(times, [time_text(one) for one in times])
        axes.minorticks_off()
    sheet.finish(f"{of}, ms")


def _points(axes: Axes, rows: Sequence[Row], run: str, number: int, time: str) -> None:
    """The figures of a series, joined, each with its interval."""
    colour = f"C{number % 7}"
    across = [row[time] * 2 ** (APART * number) for row in rows]
    axes.plot(across, [row["value"] for row in rows], color=colour, linewidth=0.6)
    for at, row in zip(across, rows, strict=True):
        if row["low"] is not None and row["high"] is not None:
            axes.vlines(at, row["low"], row["high"], color=colour)
    marker = MARKERS[number % len(MARKERS)]
    for hollow in (False, True):
        chosen = [
            (at, row) for at, row in zip(across, rows, strict=True) if hollow is bool(row["note"])
        ]
        if chosen:
            axes.plot(
                [at for at, _ in chosen],
                [row["value"] for _, row in chosen],
                marker,
                color=colour,
                markerfacecolor="white" if hollow else colour,
                label=_name(run + (" (not compared)" if hollow else "")),
            )


def _split(sheet: _Sheet, rows: list[Row]) -> None:
    """ΔNLL as capacity and context, a run a panel; a line where white latents would be."""
    for axes, own in sheet.by_run(rows):
        times = values_of(own, "ms")
        below, above = [0.0] * len(times), [0.0] * len(times)
        for number, part in enumerate(("capacity", "context")):
            values = [row["value"] for row in where(own, part=part)]
            base = [
                low if one < 0 else high
                for one, low, high in zip(values, below, above, strict=True)
            ]
            axes.bar(range(len(times)), values, 0.6, base, color=f"C{number}", label=part)
            below = [low + min(one, 0.0) for low, one in zip(below, values, strict=True)]
            above = [high + max(one, 0.0) for high, one in zip(above, values, strict=True)]
        whole = [row["value"] for row in where(own, part="dnll")]
        axes.plot(range(len(times)), whole, "D", color="black", label="ΔNLL")
        floor = where(own, part="floor")
        if any(row["value"] for row in floor):
            values = [row["value"] for row in floor]
            axes.plot(
                range(len(times)), values, "_", color="C3", markersize=16, label="white latents"
            )
        axes.axhline(0.0, color="0.4", linewidth=0.6)
        axes.set_xticks(range(len(times)), [time_text(one) for one in times])
        axes.set_ylabel(f"ΔNLL, {NATS}")
    sheet.finish(f"{STALENESS}, ms")


def _curves(sheet: _Sheet, rows: list[Row]) -> None:
    """Losses by step, a run and staleness a panel: train thin, validation thick."""
    places = list(dict.fromkeys((row["run"], row["ms"]) for row in rows))
    panels = sheet.panels(len(places), columns=min(2, len(places)), sharex=True)
    several = len(values_of(rows, "run")) > 1
    roles = values_of(rows, "role")
    for axes, (run, ms) in zip(panels, places, strict=True):
        own = where(rows, run=run, ms=ms)
        for role in roles:
            for split in ("train", "validation"):
                for seed in values_of(own, "seed"):
                    line = where(own, role=role, split=split, seed=seed)
                    _curve(
                        axes, line, f"C{roles.index(role) % 7}", f"{ROLES.get(role, role)}, {split}"
                    )
        axes.set_title(f"{run}, {time_text(ms)} ms" if several else f"{time_text(ms)} ms")
        axes.set_ylabel("loss")
        axes.set_xlabel("step")
    sheet.finish()


def _curve(axes: Axes, rows: Sequence[Row], colour: str, label: str) -> None:
    if rows:
        train = rows[0]["split"] == "train"
        axes.plot(
            [row["step"] for row in rows],
            [row["loss"] for row in rows],
            color=colour,
            linewidth=0.6 if train else 1.4,
            linestyle=":" if train else "-",
            label=label,
        )


def _speakers(sheet: _Sheet, rows: list[Row]) -> None:
    """A dot for each eval speaker, side by side where they would cover one another."""
    (axes,) = sheet.panels(1)
    times = sorted(values_of(rows, "ms"))
    runs = values_of(rows, "run")
    room = 0.8 / len(runs)
    axes.axhline(0.0, color="0.4", linewidth=0.6)
    for number, run in enumerate(runs):
        across, values = [], []
        for at, ms in enumerate(times):
            own = sorted(where(rows, run=run, ms=ms), key=lambda row: str(row["speaker"]))
            middle = at + room * (number - (len(runs) - 1) / 2)
            across += [middle + 0.6 * room * ((i + 0.5) / len(own) - 0.5) for i in range(len(own))]
            values += [row["value"] for row in own]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(across, values, marker, color=f"C{number % 7}", label=_name(run))
    axes.set_xticks(range(len(times)), [time_text(one) for one in times])
    whose = "/".join(values_of(rows, "each"))
    figure = {"gain": "gain", "dnll": "ΔNLL"}[rows[0]["figure"]]
    axes.set_ylabel(f"{figure}, {NATS}")
    sheet.finish(f"{STALENESS}, ms; a mark a {whose}")


def _pit(sheet: _Sheet, rows: list[Row]) -> None:
    """The folded PIT of each run, a staleness a colour, beside the line of a calibrated model."""
    for axes, of_run in sheet.by_run(rows):
        axes.axhline(1.0, color="0.4", linewidth=0.8, linestyle="--", label="calibrated")
        for number, ms in enumerate(values_of(rows, "ms")):
            own = where(of_run, ms=ms)
            if own:
                edges = [own[0]["from"], *(row["to"] for row in own)]
                heights = [row["density"] for row in own]
                axes.stairs(heights, edges, color=f"C{number % 7}", label=f"{time_text(ms)} ms")
        axes.set_ylabel("density")
        axes.set_ylim(bottom=0.0)
    sheet.finish("|2·PIT - 1|: 0 at the median, 1 far outside")


def _rollout(sheet: _Sheet, rows: list[Row]) -> None:
    """The median gap by depth, a staleness a colour; a cross where it is not finite."""
    steep = max((row["value"] or 0.0 for row in rows), default=0.0) > STEEP
    for axes, own in sheet.by_run(rows):
        if steep:
            axes.set_yscale("symlog", linthresh=1.0)
        axes.axhline(0.0, color="0.4", linewidth=0.6)
        _by_depth(axes, own, rows)
        axes.set_ylabel(f"median gap, {NATS}")
    sheet.finish(_depth(rows))


def _life(sheet: _Sheet, rows: list[Row]) -> None:
    """What frames of a rollout do by depth; what is alive is shaded, a square no longer is."""
    drawn = list(dict.fromkeys((row["run"], row["figure"], row["by"]) for row in rows))
    panels = sheet.panels(len(drawn), sharex=True)
    for axes, (run, figure, by) in zip(panels, drawn, strict=True):
        own = where(rows, run=run, figure=figure)
        if figure != "energy distance":
            axes.axhspan(*ALIVE, color="0.9", linewidth=0)
            _dead(axes, own, rows)
        if max(row["value"] or 0.0 for row in own) > WIDE:
            axes.set_yscale("symlog", linthresh=1.0)
        _by_depth(axes, own, rows)
        axes.set_ylabel(figure)
        if figure == values_of(rows, "figure")[0]:
            several = len(values_of(rows, "run")) > 1
            axes.set_title(f"{run}, {BY[by]}" if several else BY[by])
    sheet.finish(_depth(rows))


def _depth(rows: Sequence[Row]) -> str:
    crosses = "; crosses: not finite" if any(row["diverged"] for row in rows) else ""
    return f"depth, frames of its own{crosses}"


def _dead(axes: Axes, rows: Sequence[Row], every: Sequence[Row]) -> None:
    for number, ms in enumerate(values_of(every, "ms")):
        dead = where(rows, ms=ms, dead=True, diverged=False)
        places = [row["depth"] for row in dead], [row["value"] for row in dead]
        axes.plot(*places, "s", color=f"C{number % 7}", markersize=8, fillstyle="none")


def _by_depth(axes: Axes, rows: Sequence[Row], every: Sequence[Row]) -> None:
    """A line for each staleness, over the depths of all panels."""
    for number, ms in enumerate(values_of(every, "ms")):
        _depths(axes, where(rows, ms=ms), f"C{number % 7}", f"{time_text(ms)} ms")
    axes.set_xscale("log", base=2)
    depths = sorted(values_of(every, "depth"))
    axes.set_xticks(depths, list(map(str, depths)))
    axes.minorticks_off()


def _depths(axes: Axes, rows: Sequence[Row], colour: str, label: str) -> None:
    finite = [row for row in rows if row["value"] is not None]
    depths = [row["depth"] for row in finite]
    axes.plot(depths, [row["value"] for row in finite], "o-", color=colour, label=label)
    lost = [row["depth"] for row in rows if row["value"] is None]
    if lost:  # marks of none would take part in the layout, at a depth of 0
        place = axes.get_xaxis_transform()
        axes.plot(lost, [0.97] * len(lost), "x", color=colour, transform=place, clip_on=False)


DRAWERS: dict[str, Callable[[_Sheet, list[Row]], None]] = {
    "gain": partial(_by_time, series="run", time="ms", of=STALENESS),
    "context": partial(_by_time, series="series", time="context_ms", of="length of the context"),
    "split": _split,
    "curves": _curves,
    "rollout": _rollout,
    "life": _life,
    "speakers": _speakers,
    "pit": _pit,
}
assert DRAWERS.keys() == PICTURES.keys() == NOTHING.keys()  # noqa: S101 - a picture has all three
