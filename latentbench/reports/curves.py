"""The learning curves of a run: a line for each network, drawn from its losses."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from latentbench.reports.columns import compact, shown_number
from latentbench.reports.tables import Line, Table, column
from latentbench.results.folder import RunFolder, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from latentbench.predictors.learning_curve import Convergence
    from latentbench.results.schema import Result

__all__ = ["curves_of", "curves_report"]

MARKS = "▁▂▃▄▅▆▇█"
WIDTH = 32  # marks of a line at most
NO_CURVES = pa.table(
    {
        **{name: pa.array([], pa.int64()) for name in ("horizon", "seed", "step")},
        **{name: pa.array([], pa.string()) for name in ("role", "split")},
        "loss": pa.array([], pa.float64()),
    }
)
ENDED = {True: "converged", False: "still learning", None: "unknown"}


class _Curve(NamedTuple):
    """The losses of one network, validation where there was any, else train."""

    horizon: int
    seed: int
    role: str
    split: str
    steps: Sequence[int]
    losses: Sequence[float]
    ended: Convergence | None


def curves_of(folder: Path) -> pa.Table:
    """The losses of a run by its folder; no rows where none was kept.

    Raises:
        DamagedFileError: the file is not what was written.
    """
    found = read_table(RunFolder(folder).curves_file)
    return NO_CURVES if found is None else found


def curves_report(result: Result, curves: pa.Table) -> Iterator[Table | Line]:
    """What the terminal shows of the losses of a run.

    Args:
        result: of the run.
        curves: `curves.parquet`: horizon, seed, role, step, split, loss.
    """
    found = list(_curves(result, curves))
    if not found:
        yield Line("No network of this run was trained by gradient descent: there are no losses.")
        return
    yield Table(
        (
            column("k", found, lambda one: str(one.horizon)),
            column("seed", found, lambda one: str(one.seed)),
            column("network", found, lambda one: one.role, left=True),
        ),
        (
            (
                column("loss of", found, lambda one: one.split, left=True),
                column("first to last", found, lambda one: _drawn(one.losses), left=True),
                column("first", found, lambda one: compact(one.losses[0], 2)),
                column("best", found, lambda one: compact(min(one.losses, key=_order), 2)),
                column("at step", found, lambda one: f"{_best_step(one):,}"),
                column("last", found, lambda one: compact(one.losses[-1], 2)),
                column("steps", found, lambda one: f"{one.steps[-1]:,}"),
                column("train", found, _train_loss),
                column("ended", found, _ended, left=True),
            ),
        ),
        "Loss of each network",
    )
    yield Line()
    yield Line(
        "A mark is a mean of losses, the lowest line the least of the network; train: the loss on "
        "train where the one on validation was best. A loss is in nats per frame where it is the "
        "NLL, else in a unit of its own.",
        "dim",
    )


def _curves(result: Result, curves: pa.Table) -> Iterator[_Curve]:
    rows = curves.to_pylist()
    cells = dict.fromkeys((one["horizon"], one["seed"], one["role"]) for one in rows)
    for horizon, seed, role in cells:
        ours = [
            one
            for one in rows
            if (one["horizon"], one["seed"], one["role"]) == (horizon, seed, role)
        ]
        split = "validation" if any(one["split"] == "validation" for one in ours) else "train"
        shown = [one for one in ours if one["split"] == split]
        yield _Curve(
            horizon,
            seed,
            role,
            split,
            [one["step"] for one in shown],
            [one["loss"] for one in shown],
            _convergence(result, horizon, seed, role),
        )


def _convergence(result: Result, horizon: int, seed: int, role: str) -> Convergence | None:
    for one in result.horizons:
        told = one.convergence.get(role, ())
        if one.k == horizon and seed in one.seeds and len(told) == len(one.seeds):
            return told[one.seeds.index(seed)]
    return None


def _drawn(losses: Sequence[float]) -> str:
    """The losses as marks of eight heights; a gap where one is not finite."""
    count = min(WIDTH, len(losses))
    edges = [round(at * len(losses) / count) for at in range(count + 1)]
    means = [
        math.fsum(part) / len(part) for part in (losses[low:high] for low, high in pairwise(edges))
    ]
    finite = [one for one in means if math.isfinite(one)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(MARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        MARKS[round((one - low) * scale)] if math.isfinite(one) else " " for one in means
    )


def _order(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _best_step(one: _Curve) -> int:
    return one.steps[min(range(len(one.losses)), key=lambda at: _order(one.losses[at]))]


def _train_loss(one: _Curve) -> str:
    return shown_number(None if one.ended is None else one.ended.train_loss)


def _ended(one: _Curve) -> str:
    return ENDED[None if one.ended is None else one.ended.converged]
