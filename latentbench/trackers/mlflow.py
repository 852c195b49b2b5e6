"""MLflow, by its store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlflow.tracking import MlflowClient

from latentbench.config import dotted
from latentbench.trackers.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.trackers.plugin import MlflowOptions

__all__ = ["Mlflow"]

STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
LONGEST = 500  # of a value of a parameter, which some stores refuse beyond


class Mlflow(Tracker):
    """A run of an experiment: losses and figures are metrics, the configuration parameters."""

    options: MlflowOptions
    _client: MlflowClient
    _run: str

    def begin(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Create a run of the name of its folder."""
        self._client = MlflowClient(tracking_uri=self.options.uri or None)
        found = self._client.get_experiment_by_name(self.options.experiment)
        experiment = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(self.options.experiment)
        )
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in dotted(config).items():
            self._client.log_param(self._run, key, str(value)[:LONGEST])

    def loss(self, name: str, value: float, step: int) -> None:
        """Log a metric at its step."""
        self._client.log_metric(self._run, name, value, step=step)

    def figure(self, name: str, value: float) -> None:
        """Log a metric."""
        self._client.log_metric(self._run, f"figures/{name}", value)

    def end(self, how: str) -> None:
        """End the run as it ended."""
        self._client.set_terminated(self._run, STATUS[how])
