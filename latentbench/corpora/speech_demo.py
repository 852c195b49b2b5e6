"""Speech made on the spot by espeak-ng, so that a first run needs no network and no data."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from latentbench.corpora.audio_files import AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.corpora.espeak import Voice, speak
from latentbench.errors import LatentbenchError
from latentbench.files import damage, is_sealed, seal
from latentbench.locks import locked
from latentbench.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import SpeechDemoOptions
    from latentbench.workspace import Workspace

__all__ = ["SENTENCES", "SPEAKERS", "Speaker", "SpeechDemo"]

PARALLEL = 2
WAITING = "Waiting for another process that makes the speech."
STRIDE = 7  # prime to the number of sentences: neighbours begin with different sentences


@dataclass(frozen=True)
class Speaker:
    """One synthetic speaker."""

    name: str
    sex: str
    accent: str
    voice: Voice


def _speaker(accent: str, variant: str, rate: int, pitch: int, pitch_range: int = 50) -> Speaker:
    # espeak-ng calls British English plain "en".
    language = "en" if accent == "en-gb" else accent
    return Speaker(
        name=f"{variant}-{accent}",
        sex=variant[0].upper(),
        accent=accent,
        voice=Voice(f"{language}+{variant}", rate, pitch, pitch_range),
    )


# Women and men in turn; the first thirteen have a formant variant to themselves.
SPEAKERS = (
    _speaker("en-us", "f1", 168, 52),
    _speaker("en-us", "m1", 160, 48),
    _speaker("en-gb", "f2", 175, 47),
    _speaker("en-gb", "m2", 171, 55),
    _speaker("en-gb-scotland", "f3", 163, 50, 60),
    _speaker("en-gb-scotland", "m3", 178, 44),
    _speaker("en-gb-x-rp", "f4", 158, 45),
    _speaker("en-gb-x-rp", "m4", 165, 52, 40),
    _speaker("en-us-nyc", "f5", 181, 55),
    _speaker("en-us-nyc", "m5", 174, 40),
    _speaker("en-gb-x-gbclan", "f1", 172, 40, 65),
    _speaker("en-gb-x-gbclan", "m6", 169, 57),
    _speaker("en-029", "f2", 160, 58),
    _speaker("en-gb-x-gbcwmd", "m7", 166, 50, 60),
    _speaker("en-us", "f3", 184, 42),
    _speaker("en-029", "m8", 155, 60),
    _speaker("en-gb", "f4", 170, 60, 40),
    _speaker("en-us", "m3", 183, 58),
    _speaker("en-gb-x-gbcwmd", "f5", 164, 44),
    _speaker("en-gb", "m7", 159, 38),
    _speaker("en-gb-scotland", "f1", 177, 62),
    _speaker("en-us-nyc", "m8", 170, 47, 65),
    _speaker("en-029", "f4", 167, 50, 60),
    _speaker("en-gb-x-rp", "m1", 176, 62),
)


# Our own, of three to eight seconds.
SENTENCES = (
    "The bakery on the corner opens at six, and by seven the warm bread is usually gone.",
    "Could you tell me whether the last train to the coast still stops at the old harbour?",
    "She folded the map twice, put it in her coat, and walked on without looking back.",
    "In spring the river climbs over its banks, so nobody plants anything near the bridge.",
    "My grandmother kept seventeen clocks, and not two of them ever agreed about the time.",
    "If the rain holds off until Thursday, we should manage to paint the whole fence.",
    "He measured the shelf, measured it again, and still cut the board a little too short.",
    "Please leave the blue parcel with the neighbours, and ask them to keep it out of the sun.",
    "The orchestra had already begun to tune when a sparrow flew in through the open window.",
    "What surprised everyone was how quietly such a large machine could do its work.",
    "Two cups of flour, a pinch of salt, and enough cold water to bring the dough together.",
    "They say the lighthouse keeper could name every ship by the sound of its horn.",
    "After the long meeting, Victoria opened a window and simply listened to the street.",
    "Nobody on the island owned a car, yet the children drew traffic jams with great care.",
    "I would rather take the path through the woods, even though it takes a good deal longer.",
    "The museum lends out umbrellas, provided that you promise to bring them back dry.",
    "Why does the kitchen light flicker whenever somebody upstairs is playing the piano?",
    "Eight young goats escaped before breakfast and were found asleep behind the chapel.",
    "His handwriting was so small that the whole story fitted on the back of a ticket.",
    "We counted the stars above the valley until the cold drove us back to the fire.",
)


class SpeechDemo(Corpus):
    """Synthetic speakers. Each says some of the same sentences, and begins with another one.

    The files are made once, in `speech-demo/` of the cache, and again where one is missing or
    damaged. Attributes of an utterance: `sex`, `accent`.
    """

    name = "speech-demo"

    def __init__(self, options: SpeechDemoOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._speakers = SPEAKERS[: options.speakers]

    @property
    def identity(self) -> Mapping[str, str]:
        """How much is said, and what decides how it sounds."""
        return {
            "corpus": "speech-demo",
            "speakers": str(self._options.speakers),
            "sentences": str(self._options.sentences),
            "version": _version(),
        }

    def utterances(self) -> Sequence[Utterance]:
        """Every sentence of every speaker, made first where it is not there.

        Raises:
            LatentbenchError: espeak-ng failed, or the files cannot be written.
        """
        folder = self._workspace.folder("speech-demo") / _version()
        try:
            if self._missing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                with locked(folder / "lock", self._workspace.progress, WAITING):
                    self._make_missing(folder)
        except OSError as error:
            raise LatentbenchError(
                f"The speech cannot be written to '{folder}': {error.strerror or error}.",
                "Make room or choose another place with --cache.",
            ) from None
        files = [
            AudioFile(
                file,
                id=f"{speaker.name}-{file.stem}",
                speaker=speaker.name,
                attributes={"sex": speaker.sex, "accent": speaker.accent},
            )
            for speaker in self._speakers
            for file in self._files(folder / speaker.name)
        ]
        return described(files, self._workspace, "listing speech-demo")

    def _files(self, folder: Path) -> list[Path]:
        return [folder / f"{number:02d}.wav" for number in range(self._options.sentences)]

    def _missing(self, folder: Path) -> list[Speaker]:
        return [
            speaker
            for speaker in self._speakers
            if not all(map(_is_sound, self._files(folder / speaker.name)))
        ]

    def _make_missing(self, folder: Path) -> None:
        missing = self._missing(folder)
        progress = self._workspace.progress
        total = len(missing) * self._options.sentences
        # A signal waits for the speakers that are being made: raised while a thread starts, it
        # could leave one that no pool knows, and its process with it.
        with (
            progress.task("making speech", total, "sentences") as meter,
            deferred() as asked,
            ThreadPoolExecutor(PARALLEL) as pool,
        ):
            for _ in pool.map(lambda speaker: self._make(speaker, folder), missing):
                meter.advance(self._options.sentences)
                if asked.is_set():
                    pool.shutdown(cancel_futures=True)
                    break

    def _make(self, speaker: Speaker, folder: Path) -> None:
        """Make one speaker's files aside and put each in place whole.

        What is there of them has the same bytes, and another process may be reading it.
        """
        aside = folder / f".making-{speaker.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        own = folder / speaker.name
        own.mkdir(exist_ok=True)
        for file in speak(speaker.voice, _text(speaker, self._options.sentences), aside):
            file.replace(own / file.name)
            seal(own / file.name)
        aside.rmdir()


def _text(speaker: Speaker, count: int) -> list[str]:
    """The sentences a speaker says, in order."""
    first = SPEAKERS.index(speaker) * STRIDE
    return [SENTENCES[(first + step) % len(SENTENCES)] for step in range(count)]


def _is_sound(file: Path) -> bool:
    return file.is_file() and is_sealed(file) and not damage(file)


def _version() -> str:
    """A digest of all that decides the samples."""
    decides = {
        "espeakng-loader": version("espeakng-loader"),
        "speakers": [asdict(speaker) for speaker in SPEAKERS],
        "sentences": SENTENCES,
        "stride": STRIDE,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
