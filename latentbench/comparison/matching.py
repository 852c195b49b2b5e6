"""What makes the horizons of encoders of different frame rates comparable.

By time (docs/compare.md): every encoder looks back 640 ms and is 80 to 640 ms stale, in as many
frames as that is nearest to, and the same stretches of audio are predicted at every horizon.
By frames: W and k as they are, whatever a frame lasts, as the original did.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from latentbench.results.schema import Result

__all__ = ["Match", "horizon_labels", "match_assignments"]

Match = Literal["ms", "frames"]

IN_TIME: dict[str, Any] = {
    "context_ms": 640.0,
    "horizons_ms": [80.0, 160.0, 320.0, 640.0],
    "frame_set": "common",
}
FRAME_KEYS = ("context_frames", "horizons", "step_frames")
TIME_KEYS = ("context_ms", "horizons_ms", "step_ms")


def match_assignments(match: Match, touched: Collection[str]) -> list[str]:
    """The settings of the task, as `--set` takes them, that the user left open.

    Args:
        match: by time or by frames.
        touched: keys of the task that the user has set.

    Raises:
        UsageError: the user has set the task in the other unit.
    """
    wrong = [key for key in (FRAME_KEYS if match == "ms" else TIME_KEYS) if key in touched]
    if wrong and match == "ms":
        raise UsageError(
            f"task.{wrong[0]} is in frames, which --match ms sets from milliseconds.",
            "Set task.context_ms, task.horizons_ms or task.step_ms, or choose --match frames.",
        )
    if wrong:
        raise UsageError(
            f"task.{wrong[0]} is in milliseconds, and --match frames takes frames.",
            "Set task.context_frames, task.horizons or task.step_frames, or choose --match ms.",
        )
    if match == "frames":
        return []
    return [
        f"task.{key}={json.dumps(value)}" for key, value in IN_TIME.items() if key not in touched
    ]


def horizon_labels(results: Sequence[Result], match: Match) -> list[dict[int, str]]:
    """For each run: horizon k -> label; horizons of one label stand side by side.

    By time the label is the staleness that was asked for in milliseconds, else what k frames
    last, to a tenth of a millisecond.
    """
    if match == "frames":
        return [{found.k: f"k={found.k}" for found in result.horizons} for result in results]
    labels = []
    for result in results:
        asked = asked_milliseconds(result.config["task"])
        labels.append(
            {
                found.k: f"{round(asked.get(found.k, found.milliseconds), 1):g} ms"
                for found in result.horizons
            }
        )
    return labels


def asked_milliseconds(task: Mapping[str, Any]) -> dict[int, float]:
    """Horizon k -> the staleness asked for; empty where it was asked for in frames."""
    if not task.get("horizons_ms"):
        return {}
    return dict(zip(task["horizons"], task["horizons_ms"], strict=True))
