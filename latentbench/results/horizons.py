"""`horizons.csv`: one row per horizon and slice, with the columns of the published table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.escapes import csv_text
from latentbench.results.figures import GAP, Figures

if TYPE_CHECKING:
    from latentbench.results.figures import FigureRow
    from latentbench.results.schema import Result

__all__ = ["FIGURES", "HEADER", "horizons_csv"]

# Column -> split, figure, decimals, all as in the original experiment's table.
FIGURES = {
    "train_nll": ("train", "nll", 2),
    "train_nll_baseline": ("train", "nll_baseline", 2),
    "train_dnll": ("train", "dnll", 2),
    "eval_nll": ("eval", "nll", 2),
    "eval_nll_baseline": ("eval", "nll_baseline", 2),
    "eval_dnll": ("eval", "dnll", 2),
    "eval_direction_cos": ("eval", "direction_cos", 4),
    "eval_logmag_r2": ("eval", "logmag_r2", 4),
    # The baseline's NLL does not depend on the context, so it cancels: both gaps are one number.
    "rollout_gap_nll": ("eval", GAP, 2),
    "rollout_gap_dnll": ("eval", GAP, 2),
}
HEADER = ("horizon_k", "slice", *FIGURES)


def horizons_csv(result: Result) -> str:
    """The text of `horizons.csv`.

    A cell is blank where n = 0 or the metric was not asked for; `inf` and `nan` are written
    out. The rollout is over all frames, so it stands in the slice `all` only.
    """
    figures = Figures.of(result)
    rows = []
    for k in (horizon.k for horizon in result.horizons):
        for slice_ in result.slices:
            found = [
                (figures.find(name, k, split=split, slice_=slice_), decimals)
                for split, name, decimals in FIGURES.values()
            ]
            rows.append([k, slice_, *(_text(*one) for one in found)])
    return csv_text([HEADER, *rows])


def _text(found: FigureRow | None, decimals: int) -> str:
    return f"{found.value:.{decimals}f}" if found is not None and found.n else ""
