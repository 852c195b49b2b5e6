"""The sounds of runs as a page plays them: lossless, and inside the page."""

from __future__ import annotations

import io
from base64 import b64encode
from itertools import groupby
from typing import TYPE_CHECKING, Any

import soundfile

from latentbench.files import DamagedFileError, reading
from latentbench.listening.record import FOLDER, RECORD, Listening
from latentbench.reports.columns import shown_number
from latentbench.reports.listening import fate, words_of_listening

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from latentbench.listening.record import Sound
    from latentbench.results.finished import FinishedRun

__all__ = ["sounds_of"]

AGAIN = "Write the sounds again with 'latentbench listen', or remove the folder."


def sounds_of(runs: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """What `latentbench listen` left in the folders of runs; of those that have none, nothing.

    Raises:
        DamagedFileError: a sound or their list is not what was written.
    """
    return list(_found(runs))


def _found(runs: Sequence[FinishedRun]) -> Iterator[dict[str, Any]]:
    for run in runs:
        folder = run.folder / FOLDER
        if not (folder / RECORD).exists():
            continue
        with reading(folder / RECORD, AGAIN):
            heard = Listening.model_validate_json((folder / RECORD).read_text("utf-8"))
        yield {
            "label": run.label,
            "says": words_of_listening(heard),
            "prompt": f"{heard.prompt_seconds:g}",
            "utterances": [
                {"name": name, "sounds": [_told(one, folder) for one in ones]}
                for name, ones in groupby(heard.sounds, lambda one: one.utterance)
            ],
        }


def _told(sound: Sound, folder: Path) -> dict[str, str]:
    """One line of the table: the player, and what is known of the sound."""
    return {
        "kind": sound.kind,
        "source": _embedded(folder, sound.file),
        "log_mel": shown_number(sound.log_mel, 1),
        "moves": shown_number(sound.movement),
        "ends": fate(sound),
    }


def _embedded(folder: Path, name: str) -> str:
    """The sound as a data URI of FLAC, which every browser of today plays.

    Raises:
        DamagedFileError: it is not there or no sound; a list may name files of its folder only.
    """
    if name in {"", ".", ".."} or "/" in name or "\\" in name:
        raise DamagedFileError(folder / RECORD, f"it names '{name}', no file of its folder", AGAIN)
    try:
        samples, rate = soundfile.read(folder / name, dtype="int16")
    except (soundfile.SoundFileError, OSError) as error:
        raise DamagedFileError(folder / name, str(error), AGAIN) from None
    packed = io.BytesIO()
    soundfile.write(packed, samples, rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{b64encode(packed.getvalue()).decode()}"
