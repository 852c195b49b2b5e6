"""Conversion of context, staleness and step from milliseconds to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["frames_of", "timing_in_frames"]


def frames_of(milliseconds: float, frame_rate: float) -> int:
    """The nearest whole number of frames, at least one."""
    return max(1, round(milliseconds * frame_rate / 1000))


def timing_in_frames(
    frame_rate: float,
    *,
    context_ms: float | None = None,
    horizons_ms: Sequence[float] | None = None,
    step_ms: float | None = None,
    first_ms: float | None = None,
) -> dict[str, int | tuple[int, ...]]:
    """Settings of a task in frames; what is None is left out.

    Args:
        frame_rate: frames per second.
        context_ms: length of the context.
        horizons_ms: stalenesses.
        step_ms: over which a delta is taken.
        first_ms: before which no frame is predicted.

    Raises:
        UsageError: two horizons are the same number of frames at this rate.
    """
    found: dict[str, int | tuple[int, ...]] = {}
    if context_ms is not None:
        found["context_frames"] = frames_of(context_ms, frame_rate)
    if step_ms is not None:
        found["step_frames"] = frames_of(step_ms, frame_rate)
    if first_ms is not None:
        found["first_frame"] = frames_of(first_ms, frame_rate)
    if horizons_ms is not None:
        horizons = tuple(frames_of(one, frame_rate) for one in horizons_ms)
        if len(set(horizons)) < len(horizons):
            asked = ", ".join(f"{one:g}" for one in horizons_ms)
            raise UsageError(
                f"At {frame_rate:g} frames per second the horizons {asked} ms are "
                f"{', '.join(map(str, horizons))} frames: some are the same.",
                f"Choose horizons at least {1000 / frame_rate:g} ms apart.",
            )
        found["horizons"] = horizons
    return found
