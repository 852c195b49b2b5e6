"""Frames taken from all speakers in turn, so that a limit leaves none of them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latentbench.tasks.windows import TaskFrames

__all__ = ["in_turn", "within_seconds"]


def in_turn(frames: TaskFrames, most: int) -> NDArray[np.bool_]:
    """Mask of at most `most` frames, one of each speaker in turn, in stream order; bool [N].

    So every speaker gives its first frames, and as many as any other while it has them.
    """
    speaker = _speakers(frames)
    by_speaker = np.argsort(speaker, kind="stable")
    counts = np.bincount(speaker) if len(speaker) else np.zeros(0, np.int64)
    turn = np.empty(len(speaker), np.int64)
    turn[by_speaker] = np.arange(len(speaker)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.zeros(len(speaker), bool)
    chosen[np.lexsort((speaker, turn))[:most]] = True
    return chosen


def within_seconds(
    frames: TaskFrames, utterances: Sequence[int], seconds: float
) -> NDArray[np.bool_]:
    """Mask of the frames in the first `seconds` of each speaker's audio; bool [N].

    The time of a frame is counted over whole utterances, so the same stretches of audio are meant
    at every frame rate and horizon.

    Args:
        frames: N, of one side.
        utterances: all of that side, as indices into its latents.
        seconds: of each speaker.
    """
    latents = frames.latents
    before: dict[str, int] = {}
    starts = np.zeros(len(latents.utterances), np.int64)
    for index in utterances:
        stored = latents.utterances[index]
        starts[index] = before.get(stored.speaker, 0)
        before[stored.speaker] = starts[index] + stored.frames
    return np.asarray((starts[frames.utterance] + frames.t) < seconds * latents.frame_rate)


def _speakers(frames: TaskFrames) -> NDArray[np.int64]:
    """Number of the speaker of each frame, in the order they appear."""
    numbers: dict[str, int] = {}
    of_utterance = np.array(
        [numbers.setdefault(one.speaker, len(numbers)) for one in frames.latents.utterances],
        np.int64,
    )
    return of_utterance[frames.utterance] if len(of_utterance) else of_utterance
