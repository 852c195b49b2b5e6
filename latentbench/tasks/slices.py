"""Slices: named subsets of the frames a task predicts (docs/tasks.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from latentbench.corpora import Utterance
    from latentbench.latents import Latents, StoredUtterance
    from latentbench.tasks import TaskFrames

__all__ = ["MEDIAL", "SLICES", "SPEAKER_PREFIX", "check_slice", "energy_median", "slice_mask"]

SLICES = ("all", "high_energy", "utterance_medial")
SPEAKER_PREFIX = "speaker:"

MEDIAL = (0.17, 0.83)


def energy_median(latents: Latents, train: Sequence[int]) -> float:
    """The median RMS over all frames of the train utterances, in float32; nan where there are none.

    All frames count, also those too early in their utterance to be predicted, so the threshold
    is the same at every horizon and for both splits. Of an even number of frames the median may
    lie between two neighbouring float32 and is rounded to one of them, as the original's was.
    """
    pieces = [
        latents.energy[stored.start : stored.start + stored.frames]
        for stored in (latents.utterances[index] for index in train)
    ]
    energy = np.concatenate([*pieces, np.empty(0, np.float32)])
    return float(np.median(energy)) if energy.size else float("nan")


def check_slice(name: str, utterances: Iterable[Utterance | StoredUtterance] | None) -> None:
    """Refuse a name that is no slice of these utterances; None: they are not known yet.

    Raises:
        UsageError: an unknown slice, or a speaker or attribute that is not in the corpus; names
            the nearest.
    """
    if name.startswith(SPEAKER_PREFIX):
        speaker = name.removeprefix(SPEAKER_PREFIX)
        speakers = {one.speaker for one in utterances or ()}
        if utterances is not None and speaker not in speakers:
            raise UsageError(
                f"The slice '{name}' names no speaker of this corpus.", nearest(speaker, speakers)
            )
    elif "=" in name:
        pairs = {pair for one in utterances or () for pair in one.attributes.items()}
        known = {f"{attribute}={value}" for attribute, value in pairs}
        if utterances is not None and name not in known:
            raise UsageError(
                f"The slice '{name}' is no attribute of an utterance of this corpus.",
                nearest(name, sorted(known)),
            )
    elif name not in SLICES:
        raise UsageError(
            f"There is no slice called '{name}'.",
            nearest(name, (*SLICES, f"{SPEAKER_PREFIX}ID", "ATTRIBUTE=VALUE")),
        )


def slice_mask(name: str, frames: TaskFrames, *, median: float) -> NDArray[np.bool_]:
    """Which of the frames are in the slice, bool [N].

    Args:
        name: `all`; `high_energy`, RMS of the frame's audio above `median`; `utterance_medial`,
            0.17 <= t/T <= 0.83 with T the frames of the utterance; `speaker:ID`; or
            `ATTRIBUTE=VALUE`, e.g. `sex=F`.
        frames: of either split.
        median: `energy_median` of the train utterances.

    Raises:
        UsageError: an unknown slice, or a speaker who is not in the corpus; names the nearest.
    """
    check_slice(name, frames.latents.utterances)
    if name == "all":
        return np.ones(len(frames), dtype=np.bool_)
    if name == "high_energy":
        return np.asarray(frames.latents.energy[frames.rows] > np.float32(median))
    if name == "utterance_medial":
        lengths = np.array([stored.frames for stored in frames.latents.utterances])
        position = frames.t / lengths[frames.utterance]
        return np.asarray((position >= MEDIAL[0]) & (position <= MEDIAL[1]))
    if name.startswith(SPEAKER_PREFIX):
        wanted = name.removeprefix(SPEAKER_PREFIX)
        inside = np.array([stored.speaker == wanted for stored in frames.latents.utterances])
    else:
        attribute, _, value = name.partition("=")
        inside = np.array(
            [stored.attributes.get(attribute) == value for stored in frames.latents.utterances]
        )
    return np.asarray(inside[frames.utterance])
