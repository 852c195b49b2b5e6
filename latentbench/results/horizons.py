"""`horizons.csv`: one row per horizon and slice, with the columns of the published table."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from latentbench.escapes import for_csv

if TYPE_CHECKING:
    from latentbench.results.schema import HorizonResult, Result

__all__ = ["HEADER", "horizons_csv"]

# Column -> split, metric, decimals, all as in the original experiment's table.
FIGURES = {
    "train_nll": ("train", "nll", 2),
    "train_nll_baseline": ("train", "nll_baseline", 2),
    "train_dnll": ("train", "dnll", 2),
    "eval_nll": ("eval", "nll", 2),
    "eval_nll_baseline": ("eval", "nll_baseline", 2),
    "eval_dnll": ("eval", "dnll", 2),
    "eval_direction_cos": ("eval", "direction_cos", 4),
    "eval_logmag_r2": ("eval", "logmag_r2", 4),
}
# The baseline's NLL does not depend on the context, so it cancels: both gaps are one number.
ROLLOUT = ("rollout_gap_nll", "rollout_gap_dnll")
HEADER = ("horizon_k", "slice", *FIGURES, *ROLLOUT)


def horizons_csv(result: Result) -> str:
    """The text of `horizons.csv`.

    A cell is blank where n = 0 or the metric was not asked for; `inf` and `nan` are written
    out. The rollout is over all frames, so it stands in the slice `all` only.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for horizon in result.horizons:
        for slice_ in result.slices:
            figures = [_figure(horizon, slice_, *which) for which in FIGURES.values()]
            writer.writerow(
                [horizon.k, for_csv(slice_), *figures, *[_gap(horizon, slice_)] * len(ROLLOUT)]
            )
    return text.getvalue()


def _figure(horizon: HorizonResult, slice_: str, split: str, name: str, decimals: int) -> str:
    found = horizon.find(split, slice_, name)
    return _number(found.value, found.n, decimals) if found else ""


def _gap(horizon: HorizonResult, slice_: str) -> str:
    if slice_ != "all" or horizon.rollout is None:
        return ""
    return _number(horizon.rollout.mean_gap, horizon.rollout.n, 2)


def _number(value: float, n: int, decimals: int) -> str:
    if not n:
        return ""
    return f"{value:.{decimals}f}" if math.isfinite(value) else str(value)
