"""Conversion of context, staleness and step from milliseconds to frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Timing", "frames_of"]


def frames_of(milliseconds: float, frame_rate: float) -> int:
    """The nearest whole number of frames, at least one."""
    return max(1, round(milliseconds * frame_rate / 1000))


@dataclass(frozen=True)
class Timing:
    """Times of a task in milliseconds; None leaves the number of frames as it is.

    Attributes:
        context_ms: length of the context.
        horizons_ms: stalenesses.
        step_ms: over which a delta is taken.
    """

    context_ms: float | None = None
    horizons_ms: Sequence[float] | None = None
    step_ms: float | None = None

    def in_frames(self, frame_rate: float) -> dict[str, int | tuple[int, ...]]:
        """The task's settings in frames at `frame_rate` frames per second.

        Raises:
            UsageError: two horizons are the same number of frames at this rate.
        """
        found: dict[str, int | tuple[int, ...]] = {}
        if self.context_ms is not None:
            found["context_frames"] = frames_of(self.context_ms, frame_rate)
        if self.step_ms is not None:
            found["step_frames"] = frames_of(self.step_ms, frame_rate)
        if self.horizons_ms is not None:
            horizons = tuple(frames_of(one, frame_rate) for one in self.horizons_ms)
            if len(set(horizons)) < len(horizons):
                asked = ", ".join(f"{one:g}" for one in self.horizons_ms)
                raise UsageError(
                    f"At {frame_rate:g} frames per second the horizons {asked} ms are "
                    f"{', '.join(map(str, horizons))} frames: some are the same.",
                    f"Choose horizons at least {1000 / frame_rate:g} ms apart.",
                )
            found["horizons"] = horizons
        return found
