"""An explanation as text for the terminal, from 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from latentbench.escapes import printable
from latentbench.reports.numbers import compact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from latentbench.forensics.records import Explanation, WorstFrame

__all__ = ["show_explanation"]

BAR = 24


def show_explanation(found: Explanation, console: Console) -> None:
    """Write the tails, the worst frames, NLL against context distance, and the verdict."""
    _tails(found, console)
    where = f"k = {found.horizon}, seed {found.seed}, {found.split}"
    _worst(found.worst, where, console)
    _typical(found, console)
    _bins(found, where, console)
    _heading("Hypotheses", console)
    for one in found.hypotheses:
        mark = "holds" if one.holds else "no"
        line = Text(f"({one.letter}) {one.name}: ")
        line.append(mark, style="bold" if one.holds else "")
        console.print(line)
        console.print(Text(f"    {one.evidence}", style="dim"))
    console.print()
    console.print(Text(f"Verdict ({found.verdict}): {found.summary}", style="bold"))
    console.print(Text(found.advice))


def _tails(found: Explanation, console: Console) -> None:
    _heading("What the mean NLL owes to the worst 0.1 % of the frames", console)
    headings = ("k", "seed", "split", "n", "mean", "median", "trimmed", "share", "weight", "worst")
    rows = [
        (
            str(one.horizon),
            str(one.seed),
            one.split,
            str(one.n),
            _number(one.mean),
            _number(one.median),
            _number(one.trimmed_mean),
            _number(one.share, 4),
            _number(one.weight, 4),
            _number(one.worst),
        )
        for one in found.tails
    ]
    console.print(_table(headings, rows))
    for one in found.tails:
        if one.non_finite:
            console.print(
                f"k = {one.horizon}, seed {one.seed}, {one.split}: {one.non_finite} frames have "
                "no finite NLL"
            )


def _worst(worst: Sequence[WorstFrame], where: str, console: Console) -> None:
    _heading(f"The worst frames of {where}", console)
    headings = ("#", "utterance", "speaker", "s", "NLL", "baseline")
    rows = [
        (
            str(number),
            one.utterance + (f" [{one.segment}]" if one.segment else ""),
            one.speaker,
            f"{one.seconds:.2f}",
            _number(one.nll),
            _number(one.nll_baseline),
        )
        for number, one in enumerate(worst, 1)
    ]
    console.print(_table(headings, rows, left=("utterance", "speaker")))
    console.print()
    looks = ("#", "norm", "distance", "beyond", "nearest", "log sigma", "clamp", "weight", "sigmas")
    looked = [
        (
            str(number),
            _number(one.context_norm, 1),
            _number(one.context_distance),
            f"{one.distance_quantile:.2%}",
            _number(one.nearest),
            _number(one.log_sigma),
            _share(one.at_clamp),
            _number(one.weight, 3),
            _number(one.sigmas),
        )
        for number, one in enumerate(worst, 1)
    ]
    console.print(_table(looks, looked))


def _typical(found: Explanation, console: Console) -> None:
    typical = found.typical
    text = (
        f"Of {typical.n} frames evenly spaced: distance {_number(typical.context_distance)}, "
        f"nearest {_number(typical.nearest)} (rare from {_number(typical.nearest_far)}, of "
        f"{found.searched} train contexts), log sigma {_number(typical.log_sigma)}, clamp "
        f"{_share(typical.at_clamp)}, sigmas {_number(typical.sigmas)}."
    )
    console.print(Text(text, style="dim"))


def _bins(found: Explanation, where: str, console: Console) -> None:
    _heading(f"NLL against context distance, {where}", console)
    medians = [one.median for one in found.bins if one.n and math.isfinite(one.median)]
    low, high = min(medians, default=0.0), max(medians, default=0.0)
    rows = [
        (
            f"{one.low:.1%} to {one.high:.1%}",
            str(one.n),
            _number(one.median) if one.n else "-",
            _number(one.mean) if one.n else "-",
            _share(one.share),
            _bar(one.median, low, high) if one.n else "",
        )
        for one in found.bins
    ]
    headings = ("of train contexts", "n", "median", "mean", "excess", "median NLL")
    console.print(_table(headings, rows, left=("median NLL",)))
    console.print(
        Text(
            f"Rank correlation of NLL and context distance: {_number(found.rank_correlation, 3)}.",
            style="dim",
        )
    )


def _heading(text: str, console: Console) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str] = ("split",)
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False, header_style="")
    for heading in headings:
        table.add_column(
            heading, justify="left" if heading in left else "right", no_wrap=heading not in left
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _bar(value: float, low: float, high: float) -> str:
    """A bar from the lowest median to the highest, at least one mark long."""
    if not math.isfinite(value) or high <= low:
        return "█"
    return "█" * max(1, round(BAR * (value - low) / (high - low)))


def _number(value: float, decimals: int = 2) -> str:
    return "-" if math.isnan(value) else compact(value, decimals)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
