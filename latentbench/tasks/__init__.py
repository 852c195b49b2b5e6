"""Station 4, windows: which frames are predicted from which, by index arithmetic."""

from latentbench.tasks.frames import Batch, TaskFrames
from latentbench.tasks.windows import WindowTask

__all__ = ["Batch", "TaskFrames", "WindowTask"]
