"""TensorBoard: event files that `tensorboard --logdir runs` finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from torch.utils.tensorboard import SummaryWriter

from latentbench.trackers.tracker import Tracker
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.trackers.plugin import TensorboardOptions

__all__ = ["Tensorboard"]


class Tensorboard(Tracker):
    """A scalar for each loss and figure; the configuration is a text."""

    options: TensorboardOptions
    _writer: SummaryWriter

    def begin(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Open a file of events."""
        named = expanded(self.options.folder) / folder.name
        place = named if self.options.folder else folder / "trackers" / "tensorboard"
        self._writer = SummaryWriter(str(place))
        text = json.dumps(config, indent=2)
        self._writer.add_text("config", f"```\n{text}\n```")

    def loss(self, name: str, value: float, step: int) -> None:
        """Add a scalar at its step."""
        self._writer.add_scalar(name, value, step)

    def figure(self, name: str, value: float) -> None:
        """Add a scalar at step 0."""
        self._writer.add_scalar(f"figures/{name}", value, 0)

    def end(self, how: str) -> None:
        """Close the file."""
        self._writer.add_text("ended", how)
        self._writer.close()
