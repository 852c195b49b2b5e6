"""Audio that libsndfile does not read (AAC in ADTS or MP4), decoded by the program ffmpeg.

Where ffmpeg is not installed such files are skipped by name. Each file is decoded by a process of
its own to float32 at its own rate and channels: `ffmpeg -i FILE -map 0:a:0 -f f32le -`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from latentbench.corpora.corpus import AudioError
from latentbench.corpora.ledger import Header

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMATS", "header", "samples", "version"]

SECONDS = 600  # in which a file must be decoded
# Said to ffmpeg: a playlist under such a name would else be one, and make it open other files.
FORMATS = {".aac": "aac", ".m4a": "mov", ".m4b": "mov", ".mp4": "mov"}


@lru_cache(maxsize=1)
def version() -> str:
    """The program and its version, e.g. `ffmpeg 5.1.8`.

    Raises:
        AudioError: it is not installed.
    """
    words = _run("ffmpeg", "-version").decode("utf-8", "replace").split()
    return f"ffmpeg {words[2]}"


def header(path: Path) -> Header:
    """Rate, samples and channels of the first audio stream, as its container says.

    The samples are those of its duration; a decoder may give a few more or fewer.

    Raises:
        AudioError: there is none, or ffmpeg is not installed.
    """
    asked = "stream=sample_rate,channels,duration:format=duration"
    told = _run(
        *("ffprobe", "-v", "error", "-f", FORMATS[path.suffix.lower()]),
        *("-select_streams", "a:0", "-show_entries", asked, "-of", "json", f"file:{path}"),
    )
    found: dict[str, Any] = json.loads(told)
    if not found.get("streams"):
        raise AudioError("cannot be decoded: no audio in it")
    stream = found["streams"][0]
    seconds = float(stream.get("duration") or found.get("format", {}).get("duration") or 0.0)
    rate = int(stream["sample_rate"])
    return Header(rate, round(seconds * rate), int(stream["channels"]))


def samples(path: Path, channels: int) -> NDArray[np.float32]:
    """All samples of the first audio stream, float32 [samples, channels].

    Raises:
        AudioError: they cannot be decoded, or ffmpeg is not installed.
    """
    # Without -xerror ffmpeg goes on after damage and gives what is left.
    told = _run(
        *("ffmpeg", "-v", "error", "-xerror", "-nostdin", "-f", FORMATS[path.suffix.lower()]),
        *("-i", f"file:{path}", "-map", "0:a:0", "-ac", str(channels), "-f", "f32le", "-"),
    )
    return np.frombuffer(told, "<f4").reshape(-1, channels).astype(np.float32)


def _run(program: str, *arguments: str) -> bytes:
    found = shutil.which(program)
    if found is None:
        raise AudioError(f"cannot be decoded: {program} is not installed, which reads this format")
    try:
        done = subprocess.run(  # noqa: S603 - no shell; a path is an argument of its own
            [found, *arguments], capture_output=True, check=True, timeout=SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise AudioError(f"cannot be decoded: {lines[-1][-120:]}") from None
    except subprocess.TimeoutExpired:
        raise AudioError(f"cannot be decoded: {program} took more than {SECONDS} s") from None
    return done.stdout
