"""Tables for the terminal: a slice each, train below eval at every horizon.

Columns come in groups: likelihood, direction and magnitude, rollout. As many groups as the
console is wide stand in one table; the others follow in a table of their own, so that no
number is ever cut. 80 columns hold the first two, 120 all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from latentbench.errors import counted
from latentbench.reports.numbers import compact, time_text
from latentbench.reports.remarks import remarks
from latentbench.reports.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, JustifyMethod

    from latentbench.results.schema import HorizonResult, Result, RolloutFigures, Split
    from latentbench.specs import NoOptions

    Row = tuple[HorizonResult, Split]

__all__ = ["TableReporter"]

ALL = "all"
BLANK = "-"
WIDE = 100  # columns, from which two spaces part the columns of a table instead of one
EVAL_THEN_TRAIN: tuple[Split, Split] = ("eval", "train")

# Metric -> heading and decimals; others get their own name and four decimals, and an interval.
HEADINGS = {
    "nll": ("NLL", 2),
    "nll_baseline": ("baseline", 2),
    "dnll": ("ΔNLL", 2),
    "dnll_capacity": ("capacity", 2),
    "dnll_context": ("context", 2),
    "x_gain": ("x gain", 2),
    "direction_cos": ("cosine", 4),
    "logmag_r2": ("R²", 4),
    "logmag_r2_var": ("R² var", 4),
}
LIKELIHOOD = ("nll", "nll_baseline", "dnll")
PARTS = ("dnll_context", "dnll_capacity", "x_gain")
UNCERTAIN = ("dnll", "dnll_context", "x_gain")
OTHER_DECIMALS = 4


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))


class TableReporter(Reporter):
    """Writes the title, the tables, the scale of k = 1, and what failed or was left out."""

    def __init__(self, options: NoOptions) -> None:
        """Take no options."""

    def report(self, result: Result, console: Console) -> None:
        """Write the result as tables as wide as the console, which has 80 columns or more."""
        console.print(_title(result))
        for line in _circumstances(result):
            console.print(Text(line, style="dim"))
        for slice_ in result.slices:
            rows = [(horizon, split) for horizon in result.horizons for split in EVAL_THEN_TRAIN]
            groups = _groups(result, slice_, rows)
            console.print()
            console.print(Text(_slice_title(slice_), style="bold"))
            between = 2 if console.width >= WIDE else 1
            tables = _packed(_keys(rows), groups, width=console.width, between=between)
            for number, columns in enumerate(tables):
                if number:
                    console.print()
                console.print(_table(_keys(rows), columns, between))
        console.print()
        for remark in remarks(result):
            console.print(Text(remark))


def _title(result: Result) -> Text:
    title = Text(
        f"{result.encoder.name} on {result.corpus.name}, {result.config['predictor']['name']} "
        f"against {result.config['baseline']['name']}",
        style="bold",
    )
    for stamp in result.stamps:
        title.append(" ")
        title.append(f"[{stamp}]", style="bold yellow")
    return title


def _circumstances(result: Result) -> Iterator[str]:
    corpus, training = result.corpus, result.config["training"]
    for split in EVAL_THEN_TRAIN:
        hours = corpus.seconds[split] / 3600
        audio = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"
        yield (
            f"{split}: {counted(len(corpus.speakers[split]), 'speaker')}, "
            f"{counted(corpus.utterances[split], 'utterance')}, {audio}"
        )
    parameters = sorted({horizon.parameters for horizon in result.horizons if horizon.seeds})
    sizes = "/".join(f"{count:,}" for count in parameters)
    how = (
        f"{counted(result.steps, 'step')} of {counted(training['batch_size'], 'frame')}"
        if result.steps
        else "fitted in closed form"
    )
    yield f"{sizes or 'no'} parameters, {how}, {_seeds(result)}"


def _seeds(result: Result) -> str:
    seeds = result.config["seeds"]
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _slice_title(slice_: str) -> str:
    return "All frames" if slice_ == ALL else f"Slice {slice_}"


def _keys(rows: Sequence[Row]) -> list[_Column]:
    return [
        _column("k", rows, lambda horizon, _: str(horizon.k)),
        _column("ms", rows, lambda horizon, _: time_text(horizon.milliseconds)),
        _column("split", rows, lambda _, split: split),
    ]


def _groups(result: Result, slice_: str, rows: Sequence[Row]) -> list[list[_Column]]:
    names = dict.fromkeys(one.name for found in result.horizons for one in found.figures)
    names = names or dict.fromkeys(LIKELIHOOD)  # where every cell failed
    parts = [name for name in PARTS if name in names]
    others = [name for name in names if name not in (*LIKELIHOOD, *PARTS)]
    groups = [
        [_counts(slice_, rows), *_figures(LIKELIHOOD, slice_, rows)],
        [*_figures(parts, slice_, rows), *([_floor(rows)] if parts else [])],
        [*_figures(others, slice_, rows)],
    ]
    return [*groups, _rollout(rows)] if slice_ == ALL else groups


def _figures(names: Sequence[str], slice_: str, rows: Sequence[Row]) -> Iterator[_Column]:
    """Each figure, and over all frames what is known of its uncertainty beside it."""
    for name in names:
        yield _metric(name, slice_, rows)
        if slice_ == ALL and (name in UNCERTAIN or name not in HEADINGS):
            uncertainty = [_interval(name, rows), _seed_error(name, rows)]
            yield from (one for one in uncertainty if set(one.cells) != {BLANK})


def _interval(name: str, rows: Sequence[Row]) -> _Column:
    decimals = _decimals(name)

    def text(horizon: HorizonResult, split: Split) -> str:
        found = horizon.find(split, ALL, name)
        if found is None or found.low is None or found.high is None:
            return BLANK
        return f"{compact(found.low, decimals)} to {compact(found.high, decimals)}"

    return _column("95 % interval", rows, text)


def _seed_error(name: str, rows: Sequence[Row]) -> _Column:
    decimals = _decimals(name)

    def text(horizon: HorizonResult, split: Split) -> str:
        found = horizon.find(split, ALL, name)
        if found is None or found.seed_error is None:
            return BLANK
        return compact(found.seed_error, decimals)

    return _column("seeds ±", rows, text)


def _decimals(name: str) -> int:
    return HEADINGS.get(name, (name, OTHER_DECIMALS))[1]


def _floor(rows: Sequence[Row]) -> _Column:
    return _column("iid floor", rows, lambda horizon, _: compact(horizon.iid_floor, 2))


def _column(
    heading: str, rows: Sequence[Row], text: Callable[[HorizonResult, Split], str]
) -> _Column:
    return _Column(heading, tuple(text(*row) for row in rows))


def _counts(slice_: str, rows: Sequence[Row]) -> _Column:
    def text(horizon: HorizonResult, split: Split) -> str:
        if not horizon.seeds:
            return "failed"
        counts = {one.n for one in horizon.figures if (one.split, one.slice) == (split, slice_)}
        return "/".join(map(str, sorted(counts)))

    return _column("n", rows, text)


def _metric(name: str, slice_: str, rows: Sequence[Row]) -> _Column:
    heading, decimals = HEADINGS.get(name, (name, OTHER_DECIMALS))

    def text(horizon: HorizonResult, split: Split) -> str:
        found = horizon.find(split, slice_, name)
        return compact(found.value, decimals) if found is not None and found.n else BLANK

    return _column(heading, rows, text)


def _rollout(rows: Sequence[Row]) -> list[_Column]:
    """Mean, median, n and the count of non-finite frames of the gap, beside the eval rows."""

    def column(heading: str, show: Callable[[RolloutFigures], str]) -> _Column:
        def text(horizon: HorizonResult, split: Split) -> str:
            if split != "eval" or horizon.rollout is None:
                return ""
            return show(horizon.rollout)

        return _column(heading, rows, text)

    def gap(value: Callable[[RolloutFigures], float]) -> Callable[[RolloutFigures], str]:
        return lambda found: compact(value(found), 2) if found.n else BLANK

    return [
        column("rollout n", lambda found: str(found.n)),
        column("gap mean", gap(lambda found: found.mean_gap)),
        column("median", gap(lambda found: found.median_gap)),
        column("non-finite", lambda found: str(found.non_finite)),
        *(column(f"med j={j}", _at_depth(j)) for j in _depths(rows)),
    ]


def _depths(rows: Sequence[Row]) -> list[int]:
    """The depths the run has gaps of, in order."""
    rollouts = [horizon.rollout for horizon, _ in rows if horizon.rollout is not None]
    return sorted({gap.depth for found in rollouts for gap in found.depths})


def _at_depth(depth: int) -> Callable[[RolloutFigures], str]:
    """The median gap at one depth."""

    def text(found: RolloutFigures) -> str:
        gaps = [one.median_gap for one in found.depths if one.depth == depth and one.n]
        return compact(gaps[0], 2) if gaps else BLANK

    return text


def _packed(
    keys: Sequence[_Column], groups: Sequence[Sequence[_Column]], *, width: int, between: int
) -> Iterator[list[_Column]]:
    """The columns of each table: whole groups where they fit, else as many columns as do."""

    def taken(columns: Sequence[_Column]) -> int:
        return sum(column.width + between for column in columns)

    room = width + between - taken(keys)
    table: list[_Column] = []
    for group in groups:
        if table and taken((*table, *group)) > room:
            yield table
            table = []
        for column in group:
            if table and taken((*table, column)) > room:
                yield table
                table = []
            table.append(column)
    if table:
        yield table


def _table(keys: Sequence[_Column], columns: Sequence[_Column], between: int) -> Table:
    # The box itself parts columns by one space.
    padding = (0, between - 1, 0, 0)
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=padding, pad_edge=False, header_style=""
    )
    for column in (*keys, *columns):
        justify: JustifyMethod = "left" if column.heading == "split" else "right"
        table.add_column(column.heading, justify=justify, no_wrap=True)
    for index, values in enumerate(zip(*(column.cells for column in columns), strict=True)):
        if any(values):
            style = "dim" if keys[-1].cells[index] == "train" else ""
            table.add_row(*(key.cells[index] for key in keys), *values, style=style)
    return table
