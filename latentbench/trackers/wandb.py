"""Weights & Biases, offline unless asked: nothing leaves this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wandb

from latentbench.trackers.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.trackers.plugin import WandbOptions

__all__ = ["Wandb"]


class Wandb(Tracker):
    """A metric for each loss, over the steps of its own training; figures are the summary."""

    options: WandbOptions
    _run: wandb.Run

    def begin(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begin a run of the name of its folder."""
        place = folder / "trackers"
        place.mkdir(exist_ok=True)
        quiet = wandb.Settings(console="off", silent=True, x_disable_stats=True)
        self._run = wandb.init(
            project=self.options.project,
            name=folder.name,
            dir=str(place),
            mode=self.options.mode,
            config=dict(config),
            settings=quiet,
        )
        # Trainings follow one another, so their steps are no steps of the run.
        self._run.define_metric("loss/*", step_metric="step")

    def loss(self, name: str, value: float, step: int) -> None:
        """Log the loss beside its step."""
        self._run.log({name: value, "step": step})

    def figure(self, name: str, value: float) -> None:
        """Put the figure into the summary."""
        self._run.summary[name] = value

    def end(self, how: str) -> None:
        """Finish the run."""
        self._run.finish(exit_code=0 if how == "finished" else 1)
