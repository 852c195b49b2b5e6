"""Speaks sentences with espeak-ng, in a process of its own: `python -m latentbench.corpora.espeak`.

espeak-ng carries state from one utterance to the next (the phase of its flutter, its echo), even
across `espeak_Terminate`. So each speaker is one process, which says the sentences in order: the
same speaker says the same bytes whatever else is made, in whatever order. A crash of the library
is then no crash of the run, either.

API: https://github.com/espeak-ng/espeak-ng/blob/1.52.0/src/include/espeak-ng/speak_lib.h
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SAMPLE_RATE", "Voice", "speak"]

SAMPLE_RATE = 22_050
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: hand over samples, return when all are made
DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report errors instead of ending the process
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
POS_CHARACTER, CHARS_UTF8 = 1, 1
SEED = 0
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds.

    Attributes:
        voice: espeak-ng's language and variant, e.g. `en-us+f3`.
        rate: words per minute.
        pitch: 0..100, 50 is the variant's own.
        pitch_range: 0..100, 50 is the variant's own.
    """

    voice: str
    rate: int
    pitch: int
    pitch_range: int


def speak(voice: Voice, sentences: Sequence[str], folder: Path) -> list[Path]:
    """Say each sentence into a WAV of its own: `00.wav`, `01.wav`, ..., mono, 16 bit, 22,050 Hz.

    What the n-th file holds depends on the voice and the first n sentences alone.

    Raises:
        LatentbenchError: espeak-ng failed; its own words are in the message.
    """
    order = {"voice": asdict(voice), "sentences": list(sentences), "folder": str(folder)}
    try:
        done = subprocess.run(  # noqa: S603 - this module, started by this interpreter
            [sys.executable, "-m", __name__],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        failure = done.stderr.strip() or f"exit code {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LatentbenchError(f"espeak-ng cannot be run: {error}") from None
    if done.returncode:
        raise LatentbenchError(f"espeak-ng failed as '{voice.voice}': {failure.splitlines()[-1]}")
    return [folder / f"{number:02d}.wav" for number in range(len(sentences))]


class _Synthesizer:
    """The library, once per process."""

    def __init__(self) -> None:
        import espeakng_loader  # noqa: PLC0415 - needed in the child only

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._samples: list[bytes] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = callback(self._take)  # the library keeps only a pointer to it
        data = str(espeakng_loader.get_data_path()).encode()
        rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, data, DONT_EXIT)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak_Initialize gave {rate}, expected {SAMPLE_RATE} Hz")
        self._library.espeak_SetSynthCallback(self._callback)

    def use(self, voice: Voice) -> None:
        self._require(self._library.espeak_SetVoiceByName(voice.voice.encode()), "no such voice")
        for parameter, value in (
            (RATE, voice.rate),
            (PITCH, voice.pitch),
            (RANGE, voice.pitch_range),
        ):
            code = self._library.espeak_SetParameter(parameter, value, 0)
            self._require(code, f"parameter {parameter}={value}")

    def say(self, sentence: str) -> bytes:
        """16-bit samples of one sentence."""
        # The library seeds its noise by the clock when it is initialised.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self._samples.clear()
        text = sentence.encode()
        size = ctypes.c_size_t(len(text) + 1)
        code = self._library.espeak_Synth(text, size, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        self._require(code, f"cannot say {sentence!r}")
        return b"".join(self._samples)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        return 0

    @staticmethod
    def _require(code: int, what: str) -> None:
        if code:
            raise RuntimeError(f"{what} (espeak-ng error {code})")


def _main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    synthesizer = _Synthesizer()
    synthesizer.use(Voice(**order["voice"]))
    for number, sentence in enumerate(order["sentences"]):
        samples = synthesizer.say(sentence)
        with wave.open(str(Path(order["folder"]) / f"{number:02d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(samples)


if __name__ == "__main__":
    _main()
