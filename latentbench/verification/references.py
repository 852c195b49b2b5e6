"""The published table and the reruns, as data of the package."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from latentbench.tasks import WindowTask

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


# Of every reference run.
CONTEXT_FRAMES = 8
HORIZONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ReferenceRun:
    """One run of the original experiment.

    Attributes:
        latents: whose: `mimi`, `encodec-24k`, `mimi-pca32` or `mimi-pca64`.
        name: of the run, with its training steps where these are known.
        width: of the network.
        frame_set: `phase1`, or `common` to the horizons 1, 2, 4, 8.
        values: (k, column) -> figure over all frames; a blank rollout is nan, not finite.
    """

    latents: str
    name: str
    width: int
    frame_set: Literal["phase1", "common"]
    values: Mapping[tuple[int, str], float]

    def first_frame(self, k: int) -> int:
        """The first frame of an utterance that was predicted at staleness k."""
        return WindowTask(
            CONTEXT_FRAMES, k, frame_set=self.frame_set, horizons=HORIZONS
        ).first_frame


@cache
def reference_runs() -> tuple[ReferenceRun, ...]:
    """Every run of the reference table, in its order."""
    found: dict[tuple[str, str, int, Any], dict[tuple[int, str], float]] = {}
    for row in csv.DictReader(_lines("phase1-reference.csv")):
        run = (row["encoder"], row["run"], int(row["width"]), row["frame_set"])
        values = found.setdefault(run, {})
        for column in COLUMNS:
            values[int(row["horizon_k"]), column] = float(row[column] or "nan")
    return tuple(ReferenceRun(*run, values) for run, values in found.items())


@cache
def eval_speakers() -> frozenset[str]:
    """The 51 speakers of train-clean-100 that Phase 1 was evaluated on."""
    return frozenset(_lines("phase1-eval-speakers.txt"))


def _lines(name: str) -> list[str]:
    """The lines of a data file but those that name its source."""
    text = (resources.files("latentbench.verification") / "data" / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
