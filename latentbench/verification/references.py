"""The published table and the reruns, as data of the package."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMNS", "ReferenceRun", "eval_speakers", "reference_runs"]

# What is compared: every column of the published table, but for the baseline's second name.
COLUMNS = (
    "train_nll",
    "train_nll_baseline",
    "train_dnll",
    "eval_nll",
    "eval_nll_baseline",
    "eval_dnll",
    "eval_direction_cos",
    "eval_logmag_r2",
    "rollout_gap_nll",
)


@dataclass(frozen=True)
class ReferenceRun:
    """One run of the original experiment.

    Attributes:
        latents: whose: `mimi`, `encodec-24k`, `mimi-pca32` or `mimi-pca64`.
        name: of the run, with its training steps where these are known.
        values: (k, column) -> figure over all frames; blank cells are not in it.
    """

    latents: str
    name: str
    values: Mapping[tuple[int, str], float]


@cache
def reference_runs() -> tuple[ReferenceRun, ...]:
    """Every run of the reference table, in its order."""
    found: dict[tuple[str, str], dict[tuple[int, str], float]] = {}
    for row in csv.DictReader(_lines("phase1-reference.csv")):
        values = found.setdefault((row["encoder"], row["run"]), {})
        for column in COLUMNS:
            if row[column]:
                values[int(row["horizon_k"]), column] = float(row[column])
    return tuple(ReferenceRun(*which, values) for which, values in found.items())


@cache
def eval_speakers() -> frozenset[str]:
    """The 51 speakers of train-clean-100 that Phase 1 was evaluated on."""
    return frozenset(_lines("phase1-eval-speakers.txt"))


def _lines(name: str) -> list[str]:
    """The lines of a data file but those that name its source."""
    text = (resources.files("latentbench.verification") / "data" / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
