"""The checks of trackers; the contract is `latentbench.trackers.Tracker`."""

from __future__ import annotations

import io
import math
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from latentbench.config import RunConfig
from latentbench.conformance.check import Kit, Subject, require
from latentbench.trackers import Tracker

__all__ = ["KIT"]


class TrackerSubject(Subject):
    """A tracker, and runs to tell it of."""

    contract = Tracker


def takes_two_runs(subject: TrackerSubject) -> None:
    """One run after another is told to it, with numbers that are not finite, and how each ended."""
    tracker, told = subject.make(), io.StringIO()
    config = RunConfig().model_dump(mode="json")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(told):
        for name, how in (("a", "finished"), ("b <i>", "failed")):
            run = Path(folder, name)
            run.mkdir()
            tracker.begin(run, config)
            for step in (50, 100):
                tracker.loss("loss/predictor/k1/seed0/train", 1.0 / step, step)
            tracker.loss("loss/predictor/k1/seed0/validation", math.nan, 100)
            tracker.figure("gain/k1", math.inf)
            tracker.end(how)
    require(not told.getvalue(), "nothing on stdout", repr(told.getvalue()[:40]))


KIT = Kit(TrackerSubject, gates=(), checks=(takes_two_runs,))
