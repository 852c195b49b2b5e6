"""How figures are named, rounded and stood in columns, the same in every table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from latentbench.reports.tables import BLANK, Column, Interval, column
from latentbench.results.figures import FLOOR
from latentbench.results.standing import NOT_FITTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from latentbench.results.figures import FigureRow, Figures

__all__ = [
    "INTERVAL",
    "Place",
    "compact",
    "decimals_of",
    "heading_of",
    "is_tabled",
    "listed",
    "number_text",
    "shown_interval",
    "shown_number",
    "shown_share",
    "shown_value",
    "tabled_names",
    "time_text",
    "uncertainty_columns",
    "unquoted",
    "value_column",
]

INTERVAL = "95 % interval"
# Metric -> heading and decimals; others get their own name and four decimals, and an interval.
HEADINGS = {
    "nll": ("NLL", 2),
    "nll_baseline": ("baseline", 2),
    "dnll": ("ΔNLL", 2),
    "dnll_capacity": ("capacity", 2),
    "dnll_context": ("context", 2),
    "gain": ("gain", 2),
    "r2i": ("R²_I", 3),
    "energy_skill": ("skill", 3),
    "spread_skill": ("spread", 2),
    "variogram_skill": ("variogram", 3),
    "x_gain": ("x gain", 2),
    "direction_cos": ("cosine", 4),
    "logmag_r2": ("R²", 4),
    "logmag_r2_var": ("R² var", 4),
    FLOOR: ("iid floor", 2),
}
# What is shown of others.
SCORES = {"energy_score": ("energy score", 3), "variogram_score": ("variogram score", 4)}
OTHER_DECIMALS = 4


@dataclass(frozen=True)
class Place:
    """Where the figures of a row are: of which run, horizon, split and slice."""

    k: int
    split: str = "eval"
    slice: str = "all"
    run: str = ""

    def find(self, figures: Figures, name: str) -> FigureRow | None:
        """The figure there; None where it was not measured."""
        return figures.find(name, self.k, run=self.run, split=self.split, slice_=self.slice)


def heading_of(name: str) -> str:
    """What a figure is called above its column."""
    return (HEADINGS | SCORES).get(name, (name, 0))[0]


def decimals_of(name: str) -> int:
    """How many decimals a figure is shown with."""
    return (HEADINGS | SCORES).get(name, (name, OTHER_DECIMALS))[1]


def is_tabled(name: str) -> bool:
    """Whether the tables have a place for a figure; others stand with their interval."""
    return name in HEADINGS


def tabled_names() -> tuple[str, ...]:
    """The figures that tables have a place for."""
    return tuple(HEADINGS)


def compact(value: float, decimals: int, width: int = 8) -> str:
    """The number with `decimals`, or in scientific notation where that exceeds `width`.

    `inf`, `-inf` and `nan` are written out.
    """
    if not math.isfinite(value):
        return str(value)
    plain = f"{value:.{decimals}f}"
    return plain if len(plain) <= width else f"{value:.1e}"


def number_text(value: float, decimals: int) -> str:
    """A number of a sentence: two digits of one that so many decimals would hide."""
    if 0.0 < abs(value) < 10.0**-decimals:
        decimals = 1 - math.floor(math.log10(abs(value)))
    return compact(value, decimals)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def time_text(milliseconds: float) -> str:
    """Milliseconds without needless decimals: `80`, `13.3`."""
    return f"{milliseconds:.1f}".removesuffix(".0")


def shown_value(found: FigureRow | None, decimals: int) -> str:
    """A figure, or a dash where no frame was there."""
    return compact(found.value, decimals) if found is not None and found.n else BLANK


def shown_number(value: float | None, decimals: int = 2) -> str:
    """A number, or a dash where there is none or it is undefined."""
    return BLANK if value is None or math.isnan(value) else compact(value, decimals)


def shown_share(value: float | None, decimals: int = 0) -> str:
    """A share in percent, or a dash likewise."""
    return BLANK if value is None or math.isnan(value) else f"{value:.{decimals}%}"


def shown_interval(low: float | None, high: float | None, decimals: int) -> str | Interval:
    """Both bounds, or a dash where there is no interval."""
    if low is None or high is None:
        return BLANK
    return Interval(compact(low, decimals), compact(high, decimals))


def value_column(figures: Figures, places: Iterable[Place], name: str, *, unit: str = "") -> Column:
    """A figure at each place."""
    decimals = decimals_of(name)
    cells = tuple(shown_value(place.find(figures, name), decimals) for place in places)
    return Column(heading_of(name), cells, name=name, unit=unit)


def unquoted(columns: Sequence[Column], unfit: Sequence[bool]) -> list[Column]:
    """The columns without the numbers of rows whose models were not fitted: the first says so."""
    return [
        replace(
            one,
            cells=tuple(
                (BLANK if number else NOT_FITTED) if bad else cell
                for bad, cell in zip(unfit, one.cells, strict=True)
            ),
        )
        for number, one in enumerate(columns)
    ]


def uncertainty_columns(
    figures: Figures, places: Sequence[Place], name: str, *, unit: str = "", seeds: bool = True
) -> list[Column]:
    """The interval over speakers and the error over seeds, where any place has them."""
    decimals = decimals_of(name)

    def bounds(place: Place) -> str | Interval:
        found = place.find(figures, name)
        return shown_interval(found.low, found.high, decimals) if found else BLANK

    def error(place: Place) -> str:
        found = place.find(figures, name)
        if found is None or found.seed_error is None:
            return BLANK
        return compact(found.seed_error, decimals)

    columns = [column(INTERVAL, places, bounds, name=f"{name}_interval", unit=unit, beside=True)]
    if seeds:
        columns.append(column("seeds ±", places, error, name=f"{name}_seeds", beside=True))
    return [one for one in columns if set(one.cells) != {BLANK}]
