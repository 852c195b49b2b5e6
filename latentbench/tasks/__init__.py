"""Station 4, windows: which frames are predicted from which, by index arithmetic."""

from latentbench.tasks.windows import Batch, TaskFrames, WindowTask

__all__ = ["Batch", "TaskFrames", "WindowTask"]
