"""The scores of each cell of a run, and what their mean owes to a few frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from latentbench.errors import LatentbenchError, UsageError
from latentbench.files import reading
from latentbench.forensics.records import Tail
from latentbench.results.tables import AGAIN
from latentbench.results.tails import median, tail_share, trimmed_mean

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.results.schema import Split
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]

__all__ = ["Scores", "in_spreads", "read_scores", "spread_of", "tail_of"]

NORMAL_IQR = 1.3489795003921634  # of the standard normal distribution
COLUMNS = ("horizon", "seed", "split", "frame", "nll", "nll_baseline")


@dataclass(frozen=True)
class Scores:
    """The scored frames of one split of one cell, in stream order.

    Attributes:
        horizon: k.
        seed: of the cell.
        split: whose frames.
        t: frame within its utterance, [n].
        nll: nats, [n]; an undefined one is infinite here.
        nll_baseline: nats, [n].
    """

    horizon: int
    seed: int
    split: Split
    t: NDArray[np.int64]
    nll: Floats
    nll_baseline: Floats

    def require_same(self, frames: TaskFrames) -> None:
        """Refuse frames that are not those that were scored.

        Raises:
            LatentbenchError: they are not.
        """
        if not np.array_equal(frames.t[: len(self.t)], self.t):
            raise LatentbenchError(
                f"The frames of k = {self.horizon}, {self.split}, are not those that were scored.",
                "frames.parquet and the latents in the cache are of different runs: run again "
                "with another --out.",
            )


def read_scores(file: Path) -> list[Scores]:
    """The scores of every cell and split of a `frames.parquet`.

    Raises:
        UsageError: it is not there, or the run did not keep the model's NLL.
    """
    if not file.exists():
        raise UsageError(
            f"'{file}' is not there, so no frame can be explained.",
            "No horizon of the run scored any frame, or the file was removed.",
        )
    with reading(file, AGAIN):
        if "nll" not in pq.read_schema(file).names:
            raise UsageError(
                "The run kept no 'nll' per frame.",
                "Name it in evaluation.metrics and run again.",
            )
        table = pq.read_table(file, columns=list(COLUMNS))
    found = []
    cells = pc.unique(table["horizon"]).to_pylist()
    for horizon in cells:
        of_horizon = table.filter(pc.equal(table["horizon"], horizon))
        for seed in pc.unique(of_horizon["seed"]).to_pylist():
            of_cell = of_horizon.filter(pc.equal(of_horizon["seed"], seed))
            for split in pc.unique(of_cell["split"]).to_pylist():
                rows = of_cell.filter(pc.equal(of_cell["split"], split))
                nll = [_nan_is_worst(rows[name].to_numpy()) for name in ("nll", "nll_baseline")]
                found.append(Scores(horizon, seed, split, rows["frame"].to_numpy(), *nll))
    return found


def _nan_is_worst(nll: Floats) -> Floats:
    return np.where(np.isnan(nll), np.inf, nll)


def tail_of(scores: Scores) -> Tail:
    """What the mean of these scores owes to the worst of them."""
    nll = scores.nll
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(nll.mean())
    trimmed = trimmed_mean(nll)
    spread = spread_of(nll)
    worst = float(nll.max())
    return Tail(
        horizon=scores.horizon,
        seed=scores.seed,
        split=scores.split,
        n=len(nll),
        non_finite=int((~np.isfinite(nll)).sum()),
        mean=mean,
        median=median(nll),
        trimmed_mean=trimmed,
        baseline_mean=float(scores.nll_baseline.mean()),
        share=tail_share(nll),
        spread=spread,
        weight=in_spreads(mean - trimmed, spread),
        worst=worst,
        worst_spreads=in_spreads(worst - median(nll), spread),
    )


def spread_of(nll: Floats) -> float:
    """Interquartile range of the finite values of [n] over that of a standard normal."""
    finite = nll[np.isfinite(nll)]
    if not finite.size:
        return math.inf
    low, high = np.quantile(finite, [0.25, 0.75])
    return float(high - low) / NORMAL_IQR


def in_spreads(nats: float, spread: float) -> float:
    """Nats in spreads; infinite where they are not finite, or all frames but a few agree."""
    if not math.isfinite(nats):
        return math.inf
    if spread > 0:
        return nats / spread
    return math.inf if nats > 0 else 0.0
