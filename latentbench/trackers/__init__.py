"""Where else a run is followed: tools that draw its losses as they fall."""

from latentbench.trackers.tracker import Tracker

__all__ = ["Tracker"]
