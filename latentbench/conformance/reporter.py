"""The checks of reporters; the contract is `latentbench.reports.reporter.Reporter`."""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from latentbench.config import RunConfig
from latentbench.conformance.check import Doubt, Kit, Subject, require
from latentbench.reports.reporter import Reporter
from latentbench.results.schema import Result

__all__ = ["KIT"]

WIDTH = 80
VALUES = {"nll": 1075.45, "nll_baseline": 1260.89, "dnll": -185.44, "logmag_r2": math.nan}
ROLLOUT = {"mean_gap": math.inf, "median_gap": 3.2, "n": 500, "non_finite": 1, "utterances": 4}


class ReporterSubject(Subject):
    """A reporter, and results to show."""

    contract = Reporter

    def text(self, result: Result) -> tuple[str, str]:
        """What it writes to a console of 80 columns, and what it writes past it."""
        written, past = io.StringIO(), io.StringIO()
        with redirect_stdout(past):
            self.make().report(result, Console(file=written, width=WIDTH))
        return written.getvalue(), past.getvalue()


def writes(subject: ReporterSubject) -> str:
    """A report is written to the console it is given, and nowhere else."""
    written, past = subject.text(_result(("done", "done")))
    require(written.strip(), "a report on the console", "nothing")
    require(not past, "nothing on stdout beside the console", repr(past[:40]))
    return f"{len(written.splitlines())} lines"


def fits(subject: ReporterSubject) -> str:
    """Lines fit the console's 80 columns; formats for programs may be wider."""
    written, _ = subject.text(_result(("done", "done")))
    widest = max(map(cell_len, written.splitlines()))
    if widest > WIDTH:
        return Doubt(f"a line of {widest} columns; that is right only for programs that read it")
    return f"{widest} columns"


def odd_results(subject: ReporterSubject) -> None:
    """Results with a failed horizon, or with nothing but failed ones, are shown too."""
    for statuses in (("done", "failed"), ("failed", "failed")):
        written, _ = subject.text(_result(statuses))
        require(written.strip(), f"a report of horizons that are {statuses}", "nothing")


KIT = Kit(ReporterSubject, gates=(), checks=(writes, fits, odd_results))


def _result(statuses: tuple[str, str]) -> Result:
    """Two horizons, one number of them undefined and one infinite."""
    config = RunConfig.model_validate({"task": {"slices": ("all",), "horizons": (1, 2)}})
    encoder = {"name": "mimi", "dim": 512, "frame_rate": 12.5, "hop": 1920, "sample_rate": 24_000}
    corpus = {
        "name": "a corpus",
        "speakers": {"train": ("1", "2"), "eval": ("3",)},
        "utterances": {"train": 20, "eval": 10},
        "seconds": {"train": 100.0, "eval": 50.0},
    }
    given = {
        "config": config.model_dump(mode="json"),
        "encoder": encoder,
        "corpus": corpus,
        "horizons": [_horizon(k, status) for k, status in enumerate(statuses, 1)],
        "stamps": ("random weights",),
        "provenance": {
            "latentbench": "0",
            "python": "3",
            "libraries": {},
            "platform": "any",
            "device": "cpu",
        },
    }
    return Result.model_validate(given)


def _horizon(k: int, status: str) -> dict[str, Any]:
    found = {"k": k, "milliseconds": 80.0 * k, "status": status, "dim": 512, "seeds": (42,)}
    if status == "failed":
        return {**found, "errors": ("Training diverged.",)}
    figures = [
        {"split": split, "slice": "all", "name": name, "value": value, "n": 1000, "better": "lower"}
        for split in ("train", "eval")
        for name, value in VALUES.items()
    ]
    return {
        **found,
        "parameters": 1000,
        "frames": {"train": 2000, "eval": 1000},
        "scored": {"train": 1000, "eval": 1000},
        "figures": figures,
        "rollout": ROLLOUT,
    }
