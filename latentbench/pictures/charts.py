"""The charts of reports: the rows of `rows.py` as specifications of Vega-Lite, made by Altair.

A chart takes the width of its place. Colours are properties of the page's style sheet, so that one
drawing is right on light, on dark and on paper; what they mean is told in HTML beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import altair as alt

from latentbench.pictures.rows import BY, NATS, ROLES, STEEP, WIDE, rows_of, values_of, where
from latentbench.reports.columns import time_text
from latentbench.reports.curves import curves_of, curves_report
from latentbench.reports.tables import BLANK, Column, Table, column
from latentbench.rollout.alive import ALIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from latentbench.cards.card import Card
    from latentbench.explain.explanation import Explanation
    from latentbench.pictures.rows import Row
    from latentbench.results.finished import FinishedRun

__all__ = ["Chart", "Charts", "Key", "card_charts", "charts_of", "distance_charts"]

Layer: TypeAlias = alt.Chart | alt.LayerChart
COLOURS = 7  # --s0 to --s6 of the style sheet
SHAPES = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "cross": "✚",
    "triangle-right": "▶",
}
LINE, DOTTED, BAR, BAND, TICK, RULE = "━", "┅", "█", "░", "▬", "╌"
APART = 0.03  # of a factor of two: what parts runs that share a staleness
HEIGHT = 240
STATISTICS = ("median", "mean")
BANDS = "distance of the context, percentile of those of train"
STALENESS = "staleness of the context, ms"
LENGTH = "length of the context, ms"
PARTS = {"capacity": (0, BAR), "context": (1, BAR), "ΔNLL": (None, "◆"), "white latents": (3, TICK)}
DIGITS = 7  # significant, of a number in a chart
# Columns that a table beside a chart need not show.
HIDDEN = {"at", "encoder", "predictor", "diverged", "each"}
# What a rollout is seen to do -> the title of its axis.
AXES = {
    "movement": "change over the true one",
    "variance": "variance over the true one",
    "energy distance": "from true frames",
}
ALIVE_BY = ("movement", "variance")
TICKS = 5  # of powers of ten, about


@dataclass(frozen=True)
class Key:
    """What a colour and a mark mean; a colour is the number of one, None that of text."""

    label: str
    colour: int | None
    mark: str


@dataclass(frozen=True)
class Chart:
    """One panel: its title, which may be empty, and its specification."""

    title: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Charts:
    """The panels of a picture, what their marks mean, and the same numbers as tables."""

    keys: tuple[Key, ...]
    panels: tuple[Chart, ...]
    tables: tuple[Table, ...]


def charts_of(what: str, runs: Sequence[FinishedRun]) -> Charts | None:
    """The charts of one of `rows.PICTURES`; None where nothing of it was measured.

    Raises:
        DamagedFileError: a file of a run is not what was written.
    """
    rows = _finite(rows_of(what, runs))
    if not rows:
        return None
    tables = _losses(runs) if what == "curves" else [_table(rows)]
    keys, panels = MAKERS[what](rows)
    return Charts(tuple(keys), tuple(panels), tuple(tables))


def _losses(runs: Sequence[FinishedRun]) -> Iterator[Table]:
    """How each training of each run ended."""
    for run in runs:
        for part in curves_report(run.result, curves_of(run.folder)):
            if isinstance(part, Table):
                yield replace(part, title=f"{run.label}: {part.title}")


def _table(rows: Sequence[Row]) -> Table:
    """Rows as a table, a column for each of their names."""
    names = [one for one in rows[0] if one not in HIDDEN]

    def text(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        return BLANK if value is None else str(value)

    def named(name: str) -> Column:
        left = isinstance(rows[0][name], str)
        heading = "/".join(values_of(rows, "each")) if name == "speaker" else name
        return column(heading, rows, lambda row: text(row[name]), left=left)

    columns = list(map(named, names))
    return Table((columns[0],), (tuple(columns[1:]),))


def _finite(rows: Iterable[Row]) -> list[Row]:
    """JSON knows neither infinity nor nan; and seven digits draw what sixteen do."""

    def told(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None

    return [{name: told(value) for name, value in row.items()} for row in rows]


def _colour(number: int | None) -> str:
    return "currentColor" if number is None else f"var(--s{number % COLOURS})"


def _shape(number: int) -> str:
    """One that differs where colours come round again."""
    return list(SHAPES)[(number + number // COLOURS) % len(SHAPES)]


def _coloured(field: str, names: Sequence[Any], numbers: Sequence[int | None]) -> alt.Color:
    scale = alt.Scale(domain=list(names), range=[_colour(one) for one in numbers])
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def _times(rows: Sequence[Row]) -> list[str]:
    return [time_text(one) for one in sorted(values_of(rows, "ms"))]


def _panel(title: str, rows: Sequence[Row], *layers: Layer, height: int = HEIGHT) -> Chart:
    """Layers over one another, as wide as there is room, with the data in one place."""
    chart = alt.layer(*layers, data=alt.InlineData(values=list(rows)))
    # A number of pixels is what it takes; the page gives it the width of its place.
    return Chart(title, chart.properties(width="container", height=height).to_dict())


def _tooltip(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(one) for one in names]


def _zero(at: float = 0.0, *, dashed: bool = False) -> alt.Chart:
    rule = alt.Chart(alt.InlineData(values=[{"zero": at}]))
    dash = [4, 4] if dashed else [1, 0]
    line: alt.Chart = rule.mark_rule(opacity=0.6, strokeDash=dash).encode(alt.Y("zero:Q"))
    return line


def _by_time(
    rows: list[Row], *, series: str, time: str, across: str
) -> tuple[list[Key], list[Chart]]:
    """Gain, and R²_I, by a time; hollow where a row takes no part in a comparison."""
    runs, times = values_of(rows, series), sorted(values_of(rows, time))
    numbers = range(len(runs))
    for row in rows:
        row["at"] = row[time] * 2 ** (APART * runs.index(row[series]))
    axis = alt.Axis(values=times, labelExpr="format(datum.value, '~r')", grid=False)
    x = alt.X("at:Q", title=across, axis=axis).scale(type="log", base=2, nice=False, padding=20)
    colour = _coloured(series, runs, numbers)
    shape = alt.Scale(domain=runs, range=[_shape(one) for one in numbers])
    fill = alt.condition("datum.note === ''", colour, alt.value("var(--page)"))
    shown = _tooltip("run:N", "ms:Q", "value:Q", "low:Q", "high:Q", "n:Q", "speakers:Q", "note:N")
    panels = []
    for figure, unit in (("gain", NATS), ("R²_I", "per dimension")):
        own = where(rows, figure="r2i" if figure == "R²_I" else figure)
        if not own:
            continue
        base = alt.Chart().encode(
            x=x, y=alt.Y("value:Q", title=f"{figure}, {unit}"), color=colour, tooltip=shown
        )
        points = base.mark_point(size=60, opacity=1).encode(
            shape=alt.Shape(f"{series}:N", scale=shape, legend=None), fill=fill
        )
        bars = base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
        layers = (_zero(), base.mark_line(strokeWidth=1), bars, points)
        panels.append(_panel(f"{figure} by {across.partition(' of')[0]}", own, *layers))
    return _runs(runs), panels


def _runs(runs: Sequence[str]) -> list[Key]:
    return [Key(run, number, SHAPES[_shape(number)]) for number, run in enumerate(runs)]


def _named(run: str, runs: Sequence[str], more: str = "") -> str:
    """The title of a panel: its run where there are several."""
    return ", ".join(filter(None, (run if len(runs) > 1 else "", more)))


def _split(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """ΔNLL as capacity and context, a run a panel; a tick where white latents would be."""
    for row in rows:
        row["part"] = {"dnll": "ΔNLL", "floor": "white latents"}.get(row["part"], row["part"])
    runs, parts = values_of(rows, "run"), list(PARTS)
    if not any(row["value"] for row in where(rows, part="white latents")):
        parts.remove("white latents")
    bottom, top = _range(rows, ("capacity", "context"))
    y = alt.Y("value:Q", title=f"ΔNLL, {NATS}").scale(domain=[bottom, top])
    base = alt.Chart().encode(
        x=alt.X("ms:O", title=STALENESS, axis=alt.Axis(labelAngle=0)),
        y=y,
        color=_coloured("part", parts, [PARTS[one][0] for one in parts]),
        tooltip=_tooltip("run:N", "ms:Q", "part:N", "value:Q", "n:Q"),
    )
    bars = base.transform_filter("datum.part === 'capacity' || datum.part === 'context'")
    whole = base.transform_filter("datum.part === 'ΔNLL'")
    floor = base.transform_filter("datum.part === 'white latents'")
    layers = [
        bars.mark_bar().encode(y=y.stack("zero")),
        _zero(),
        whole.mark_point(shape="diamond", filled=True, size=60, opacity=1),
    ]
    if "white latents" in parts:
        layers.append(floor.mark_tick(thickness=3, width=28))
    keys = [Key(one, *PARTS[one]) for one in parts]
    return keys, [_panel(_named(run, runs), where(rows, run=run), *layers) for run in runs]


def _range(rows: Sequence[Row], stacked: Sequence[str]) -> tuple[float, float]:
    """The lowest and highest of bars that stand on one another, and of the marks beside them."""
    ends = [0.0]
    piles: dict[tuple[str, float, bool], float] = {}
    for row in rows:
        value = row["value"] or 0.0
        ends.append(value)
        if row["part"] in stacked:
            place = (row["run"], row["ms"], value < 0)
            piles[place] = piles.get(place, 0.0) + value
    ends += piles.values()
    room = 0.05 * ((max(ends) - min(ends)) or 1.0)
    return min(ends) - room * (min(ends) < 0), max(ends) + room * (max(ends) > 0)


def _curves(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """Losses by step, a run and staleness a panel: train dotted, validation drawn through."""
    runs, roles = values_of(rows, "run"), values_of(rows, "role")
    colour = _coloured("role", roles, range(len(roles)))
    dash = alt.Scale(domain=["train", "validation"], range=[[2, 2], [1, 0]])
    lines = (
        alt.Chart()
        .mark_line(strokeWidth=1.4)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)),
            color=colour,
            strokeDash=alt.StrokeDash("split:N", scale=dash, legend=None),
            detail="seed:N",
            tooltip=_tooltip("role:N", "split:N", "seed:N", "step:Q", "loss:Q"),
        )
    )
    kept = ("role", "split", "seed", "step", "loss")
    panels = []
    for run, ms in dict.fromkeys((row["run"], row["ms"]) for row in rows):
        own = [{name: row[name] for name in kept} for row in where(rows, run=run, ms=ms)]
        panels.append(_panel(_named(run, runs, f"{time_text(ms)} ms"), own, lines, height=160))
    splits = values_of(rows, "split")
    keys = [
        Key(f"{ROLES.get(role, role)}, {split}", number, DOTTED if split == "train" else LINE)
        for number, role in enumerate(roles)
        for split in splits
    ]
    return keys, panels


def _speakers(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """A mark for each eval speaker, run beside run."""
    runs = values_of(rows, "run")
    numbers = range(len(runs))
    figure = {"gain": "gain", "dnll": "ΔNLL"}[rows[0]["figure"]]
    whose = "/".join(values_of(rows, "each"))
    speaker = alt.Tooltip("speaker:N", title=whose)
    shape = alt.Scale(domain=runs, range=[_shape(one) for one in numbers])
    points = (
        alt.Chart()
        .mark_point(size=36, opacity=0.75)
        .encode(
            x=alt.X("ms:O", title=STALENESS, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("run:N", scale=alt.Scale(domain=runs)),
            y=alt.Y("value:Q", title=f"{figure}, {NATS}"),
            color=_coloured("run", runs, numbers),
            shape=alt.Shape("run:N", scale=shape, legend=None),
            tooltip=[speaker, *_tooltip("run:N", "ms:Q", "value:Q", "n:Q")],
        )
    )
    return _runs(runs), [_panel(f"{figure} of each {whose}", rows, _zero(), points)]


def _stalenesses(rows: Sequence[Row], mark: str) -> tuple[list[Key], alt.Color]:
    times = sorted(values_of(rows, "ms"))
    keys = [Key(f"{time_text(one)} ms", number, mark) for number, one in enumerate(times)]
    return keys, _coloured("ms", times, range(len(times)))


def _pit(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """The folded PIT of each run, a staleness a colour, beside the line of a calibrated model."""
    runs = values_of(rows, "run")
    keys, colour = _stalenesses(rows, LINE)
    y = alt.Y("density:Q", title="density").scale(domain=[0, _top(rows, "density")])
    steps = (
        alt.Chart()
        .mark_rule(strokeWidth=3, opacity=0.85)
        .encode(
            x=alt.X("from:Q", title="|2·PIT − 1|: 0 at the median, 1 far outside"),  # noqa: RUF001 - a minus
            x2="to:Q",
            y=y,
            color=colour,
            tooltip=_tooltip("run:N", "ms:Q", "from:Q", "to:Q", "density:Q"),
        )
    )
    layers = (_zero(1.0, dashed=True), steps)
    keys.append(Key("calibrated", None, RULE))
    return keys, [_panel(_named(run, runs), where(rows, run=run), *layers) for run in runs]


def _top(rows: Sequence[Row], name: str) -> float:
    return 1.1 * max((row[name] or 0.0 for row in rows), default=1.0)


def _rollout(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """The median gap by depth, a staleness a colour; a cross where it is not finite."""
    runs = values_of(rows, "run")
    keys, colour = _stalenesses(rows, LINE)
    base = _by_depth(rows, colour, "n:Q", "non_finite:Q")
    low = min(0.0, *(row["value"] or 0.0 for row in rows))
    y = alt.Y("value:Q", title=f"median gap, {NATS}")
    high = _top(rows, "value")
    domain = [1.1 * low, high]
    y = _steep(y, domain) if high > STEEP else y.scale(domain=domain)
    if any(row["diverged"] for row in rows):
        keys.append(Key("not finite", None, "✕"))
    panels = []
    for run in runs:
        own = where(rows, run=run)
        panels.append(_panel(_named(run, runs), own, _zero(), *_depths(base, y, own)))
    return keys, panels


def _life(rows: list[Row]) -> tuple[list[Key], list[Chart]]:
    """What frames of a rollout do by depth, a figure a panel; a square where they are dead."""
    runs = values_of(rows, "run")
    keys, colour = _stalenesses(rows, LINE)
    keys.append(Key("alive", None, BAND))
    if any(row["dead"] for row in rows):
        keys.append(Key("no longer alive", None, "□"))
    if any(row["diverged"] for row in rows):
        keys.append(Key("not finite", None, "✕"))
    base = _by_depth(rows, colour, "by:N", "n:Q")
    panels = []
    for run in runs:
        for figure in AXES:
            if own := where(rows, run=run, figure=figure):
                title = _named(run, runs, f"{figure}, {BY[own[0]['by']]}")
                panels.append(_panel(title, own, *_lived(figure, base, own), height=160))
    return keys, panels


def _lived(figure: str, base: alt.Chart, rows: Sequence[Row]) -> list[Layer]:
    """One figure by depth; of a ratio what is alive is shaded."""
    y, top = alt.Y("value:Q", title=AXES[figure]), _top(rows, "value")
    if figure not in ALIVE_BY:
        low = min(0.0, *(row["value"] or 0.0 for row in rows))
        return [_zero(), *_depths(base, y.scale(domain=[1.1 * low, 1.0]), rows)]
    domain = [0.0, max(top, ALIVE[1] + 0.5)]
    y = _steep(y, domain) if top > WIDE else y.scale(domain=domain)
    layers = [_alive(), _zero(1.0, dashed=True), *_depths(base, y, rows)]
    if where(rows, dead=True, diverged=False):
        dead = base.transform_filter("datum.dead && !datum.diverged")
        layers.append(dead.mark_point(shape="square", size=150, strokeWidth=1.5).encode(y=y))
    return layers


def _steep(y: alt.Y, domain: list[float]) -> alt.Y:
    """Logarithmic beyond 1, marked at 0, at 1 and at few powers of ten."""
    most = int(math.log10(domain[1]))
    powers = [10.0**one for one in range(0, most + 1, 1 + most // TICKS)]
    told = "format(datum.value, datum.value < 1e5 ? 'd' : '.0e')"
    axis = alt.Axis(values=[0.0, *powers], labelExpr=told, labelOverlap="greedy")
    return y.scale(type="symlog", domain=domain).axis(axis)


def _alive() -> alt.Chart:
    """Between a half and twice what true frames do."""
    band = alt.Chart(alt.InlineData(values=[{"zero": ALIVE[0], "high": ALIVE[1]}]))
    band = band.mark_rect(color="currentColor", opacity=0.1)
    shaded: alt.Chart = band.encode(alt.Y("zero:Q"), alt.Y2("high:Q"))
    return shaded


def _by_depth(rows: Sequence[Row], colour: alt.Color, *shown: str) -> alt.Chart:
    """The axis of depths 1, 2, 4, ..."""
    axis = alt.Axis(
        values=sorted(values_of(rows, "depth")), labelExpr="format(datum.value, '~r')", grid=False
    )
    x = alt.X("depth:Q", title="depth, frames of the model's own", axis=axis)
    based: alt.Chart = alt.Chart().encode(
        x=x.scale(type="log", base=2, nice=False),
        color=colour,
        tooltip=_tooltip("run:N", "ms:Q", "depth:Q", "value:Q", *shown),
    )
    return based


def _depths(base: alt.Chart, y: alt.Y, rows: Sequence[Row]) -> list[Layer]:
    """A line by depth; above it a cross where it is not finite."""
    layers: list[Layer] = []
    if where(rows, diverged=False):
        lines = base.transform_filter("!datum.diverged").encode(y=y)
        layers.append(lines.mark_line(point=alt.OverlayMarkDef(size=36)))
    if any(row["diverged"] for row in rows):
        lost = base.transform_filter("datum.diverged").mark_point(shape="cross", angle=45)
        layers.append(lost.encode(y=alt.value(8)))
    return layers


def distance_charts(explained: Mapping[str, Explanation]) -> Charts:
    """NLL by how unusual the context is, a run a panel.

    Args:
        explained: label of a run -> what was found of its frames.
    """
    rows = _finite(row for run, found in explained.items() for row in _bands(run, found))
    bands = values_of(rows, "band")
    y = alt.Y("nll:Q", title=f"NLL, {NATS}", scale=alt.Scale(zero=False))
    if max((row["nll"] or 0.0 for row in rows), default=0.0) > STEEP:
        y = y.scale(type="symlog")
    lines = (
        alt.Chart()
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=alt.X("band:O", title=BANDS, sort=bands, axis=alt.Axis(labelAngle=0)),
            y=y,
            color=_coloured("of", STATISTICS, range(len(STATISTICS))),
            tooltip=_tooltip("run:N", "band:N", "of:N", "nll:Q", "n:Q"),
        )
    )
    keys = [Key(one, number, LINE) for number, one in enumerate(STATISTICS)]
    panels = [
        _panel(
            _named(run, list(explained), f"k = {found.horizon}, seed {found.seed}, {found.split}"),
            where(rows, run=run),
            lines,
        )
        for run, found in explained.items()
    ]
    return Charts(tuple(keys), tuple(panels), (_table(rows),))


def card_charts(cards: Mapping[str, Card]) -> dict[str, Charts]:
    """The directions and the memory of latents, a line a card; by name of the picture.

    Args:
        cards: by label, at least one.
    """
    labels = list(cards)
    lines: dict[str, list[_Lines]] = {"directions": [], "memory": []}
    for name, title, x, y, of in CARDED:
        rows = _finite({"card": one, **row} for one, card in cards.items() for row in of(card))
        if rows:
            lines[name].append(_Lines(title, x, y, rows))
    keys = tuple(Key(one, number, LINE) for number, one in enumerate(labels))
    return {
        name: Charts(
            keys,
            tuple(one.chart(labels) for one in several),
            tuple(replace(_table(one.rows), title=one.title) for one in several),
        )
        for name, several in lines.items()
    }


@dataclass(frozen=True)
class _Lines:
    """A line for each card over what its rows call `at`, and bars where these have `low`."""

    title: str
    x: str
    y: str
    rows: list[Row]

    def chart(self, labels: Sequence[str]) -> Chart:
        base = alt.Chart().encode(
            x=alt.X("at:Q", title=self.x, axis=alt.Axis(grid=False)),
            color=_coloured("card", labels, range(len(labels))),
        )
        y = alt.Y("value:Q", title=self.y)
        shown, bars = ["card:N", "at:Q", "value:Q"], []
        if "low" in self.rows[0]:
            shown += ["low:Q", "high:Q"]
            sure = base.transform_filter("isValid(datum.low)")
            bars = [sure.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")]
        line = base.mark_line(point=alt.OverlayMarkDef(size=25))
        lines = line.encode(y=y, tooltip=_tooltip(*shown))
        return _panel(self.title, self.rows, _zero(), *bars, lines)


def _spectrum(card: Card) -> Iterator[Row]:
    for count, share in enumerate(accumulate(card.statistics.spectrum), 1):
        yield {"directions": count, "at": count, "value": share}


def _components(card: Card) -> Iterator[Row]:
    for one in card.predictable[:1]:
        for number, gain in enumerate(one.directions, 1):
            yield {"component": number, "at": number, "value": gain}


def _correlations(card: Card) -> Iterator[Row]:
    for lag in card.statistics.autocorrelation:
        if lag.correlation is not None:
            yield {"ms": lag.ms, "at": lag.ms, "value": lag.correlation}


def _gains(card: Card) -> Iterator[Row]:
    for one in card.predictable:
        place = {"ms": one.ms, "at": one.ms}
        yield {**place, "value": one.gain, "low": one.low, "high": one.high}


def _bands(run: str, found: Explanation) -> Iterator[Row]:
    for one in found.bins:
        band = f"{100 * one.low:g}-{100 * one.high:g}"
        for of in STATISTICS if one.n else ():
            yield {"run": run, "band": band, "of": of, "nll": getattr(one, of), "n": one.n}


MAKERS: dict[str, Callable[[list[Row]], tuple[list[Key], list[Chart]]]] = {
    "gain": partial(_by_time, series="run", time="ms", across=STALENESS),
    "context": partial(_by_time, series="series", time="context_ms", across=LENGTH),
    "split": _split,
    "curves": _curves,
    "rollout": _rollout,
    "life": _life,
    "speakers": _speakers,
    "pit": _pit,
}
OF_NEXT = "Gain of the predictable components of the next frame"
# Of cards: name of the picture, title of the panel, what is across and up, and the rows.
CARDED: tuple[tuple[str, str, str, str, Callable[[Card], Iterator[Row]]], ...] = (
    ("directions", "Variance in the first directions", "directions", "share", _spectrum),
    ("directions", OF_NEXT, "component", "nats", _components),
    ("memory", "Correlation of frames", "ms apart", "correlation", _correlations),
    ("memory", "What a linear prediction gains", STALENESS, NATS, _gains),
)
