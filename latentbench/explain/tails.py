"""Read the scores of a run, and measure the part of a mean that a few frames carry.

nan counts as the worst value there is, infinity as the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from latentbench.errors import LatentbenchError, UsageError
from latentbench.explain.explanation import Tail
from latentbench.files import reading
from latentbench.results.folder import AGAIN

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from latentbench.results.schema import Split
    from latentbench.tasks import TaskFrames

    Floats = NDArray[np.float64]

__all__ = [
    "Scores",
    "in_spreads",
    "median",
    "read_scores",
    "spread_of",
    "tail_of",
    "tail_share",
    "trimmed_mean",
    "worst_count",
]

WORST_SHARE = 1e-3
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
        if not np.array_equal(frames.t, self.t):
            raise LatentbenchError(
                f"The frames of k = {self.horizon}, {self.split}, are not those that were scored.",
                "frames.parquet and the latents in the cache are of different runs: run again "
                "with another --out.",
            )


def read_scores(file: Path, why_none: str = "") -> list[Scores]:
    """The scores of every cell and split of a `frames.parquet`.

    Args:
        file: the table.
        why_none: why it may hold no NLL of the model.

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
                f"The run kept no 'nll' per frame{why_none and ': '}{why_none}.",
                "Explain a run of a predictor with a density."
                if why_none
                else "Name it in evaluation.metrics and run again.",
            )
        table = pq.read_table(file, columns=list(COLUMNS)).unify_dictionaries()
    found = []
    cells = table.group_by(["horizon", "seed", "split"], use_threads=False).aggregate([])
    for cell in cells.to_pylist():
        inside = [pc.equal(table[name], value) for name, value in cell.items()]
        rows = table.filter(pc.and_(pc.and_(inside[0], inside[1]), inside[2]))
        nll, baseline = (_undefined_is_worst(rows[name]) for name in ("nll", "nll_baseline"))
        found.append(Scores(**cell, t=rows["frame"].to_numpy(), nll=nll, nll_baseline=baseline))
    return found


def tail_of(scores: Scores) -> Tail:
    """Measure how much of the mean the worst frames carry."""
    nll = scores.nll
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(nll.mean())
    trimmed, spread, worst = trimmed_mean(nll), spread_of(nll), float(nll.max())
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


def worst_count(frames: int) -> int:
    """The number of frames in the worst 0.1 %, rounded up: at least one of any."""
    # 0.001 * 3000 must not become 4 by the last bit.
    return math.ceil(round(frames * WORST_SHARE, 9))


def median(values: ArrayLike) -> float:
    """The median of [N]; infinite only where half of the frames are; nan for no frames."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not ordered.size:
        return math.nan
    low, high = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
    return float(low if low == high else low + (high - low) / 2)


def trimmed_mean(values: ArrayLike) -> float:
    """The mean of [N] without its largest 0.1 %; nan where nothing is left."""
    kept, _ = _parts(values)
    return float(kept.mean()) if kept.size else math.nan


def tail_share(values: ArrayLike) -> float:
    """The sum of the largest 0.1 % of [N] over the sum of all.

    Above 1 where the others sum to less than 0. 1 where the largest are infinite and the others
    are not; nan for no frames, a sum of 0, or values among the others that are not finite.
    """
    kept, worst = _parts(values)
    with np.errstate(over="ignore", invalid="ignore"):
        rest, carried = float(kept.sum()), float(worst.sum())
    if not math.isfinite(rest):
        return math.nan
    if not math.isfinite(carried):
        return 1.0
    return carried / (rest + carried) if rest + carried else math.nan


def _parts(values: ArrayLike) -> tuple[Floats, Floats]:
    """All but the worst frames, and the worst."""
    every = np.asarray(values, dtype=np.float64)
    count = worst_count(every.size)
    if not count:
        return every, every[:0]
    ordered = np.partition(every, every.size - count)
    return ordered[:-count], ordered[-count:]


def _undefined_is_worst(column: object) -> Floats:
    nll = np.asarray(column, dtype=np.float64)
    return np.where(np.isnan(nll), np.inf, nll)
