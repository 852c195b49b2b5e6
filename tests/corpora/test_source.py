from __future__ import annotations

import hashlib
import os
import pickle
import struct
import wave

import numpy as np
import pytest
import soundfile

from latentbench.corpora import AudioError
from latentbench.corpora.ledger import Header, Ledger
from latentbench.corpora.source import FileSource, read_header, sources
from latentbench.progress import SILENT


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "cache" / "ledger.sqlite3")


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_samples_are_those_of_the_file(tmp_path, ledger, channels):
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, (channels, 50)).astype("<i2")
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(11025)
        file.writeframes(levels.T.tobytes())
    samples = FileSource(path, ledger).read()
    assert samples.dtype == np.float32
    assert samples.flags.c_contiguous
    np.testing.assert_array_equal(samples, levels / 2.0**15)
    assert read_header(path) == Header(11025, 50, channels)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_formats(tmp_path, ledger, tone, suffix):
    path = tone(tmp_path / f"a.{suffix}", 0.5, rate=16000, channels=2)
    assert read_header(path) == Header(16000, 8000, 2)
    assert FileSource(path, ledger).read().shape == (2, 8000)


def test_silence_is_kept(tmp_path, ledger):
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    assert not FileSource(tmp_path / "a.wav", ledger).read().any()


def broken_header(path):
    path.write_bytes(b"RIFF" + bytes(60))


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def flipped(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 20_000), 8000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut_mp3(path):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 40_000), 8000, format="MP3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def no_samples(path):
    soundfile.write(path, np.zeros(0), 8000, format="WAV")


def not_finite(path):
    samples = np.zeros(10, np.float32)
    samples[3] = np.nan
    soundfile.write(path, samples, 8000, format="WAV", subtype="FLOAT")


def infinite(path):
    data = struct.pack("<2f", 0.0, float("inf"))
    soundfile.write(path, np.zeros(2), 8000, format="WAV", subtype="FLOAT")
    path.write_bytes(path.read_bytes()[: -len(data)] + data)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "^is a folder$"),
        (lambda path: path.write_bytes(b""), "^empty file$"),
        (lambda _: None, "^not there$"),
        (broken_header, "^cannot be decoded: "),
        (noise, "^cannot be decoded: "),
        (flipped, "^cannot be decoded: "),
        (cut_mp3, "^cut short$"),
        (no_samples, "^no samples$"),
        (not_finite, "^not finite$"),
        (infinite, "^not finite$"),
    ],
)
def test_audio_that_cannot_be_used_says_why(tmp_path, ledger, make, reason):
    path = tmp_path / "a.audio"
    make(path)
    with pytest.raises(AudioError, match=reason) as error:
        FileSource(path, ledger).read()
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)  # the path is named once, by the summary


def test_the_digest_is_that_of_the_bytes(tmp_path, ledger, tone):
    path = tone(tmp_path / "a.wav")
    source = FileSource(path, ledger)
    assert source.digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.describe() == str(path)
    with pytest.raises(AudioError, match="not there"):
        FileSource(tmp_path / "absent.wav", ledger).digest()
    with pytest.raises(AudioError, match="cannot be read"):
        FileSource(tmp_path, ledger).digest()


def test_a_changed_file_has_another_digest_through_the_same_source(tmp_path, ledger, tone):
    path = tone(tmp_path / "a.wav")
    os.utime(path, (1e9, 1e9))
    ((source, _),) = sources([path], ledger, SILENT, "")
    before = source.digest()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert source.digest() == hashlib.sha256(content).hexdigest() != before


def test_listing_yields_unreadable_files_too(tmp_path, ledger, tone):
    paths = [tone(tmp_path / "a.wav", 0.1), tmp_path / "absent.wav", tmp_path / "noise.wav"]
    noise(paths[2])
    listed = list(sources(paths, ledger, SILENT, ""))
    assert [source.path for source, _ in listed] == paths
    assert [header for _, header in listed] == [Header(8000, 800, 1), None, None]


def test_sources_travel_to_another_process(tmp_path, ledger, tone):
    source = FileSource(tone(tmp_path / "a.wav"), ledger)
    sent = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    assert sent.digest() == source.digest()
    np.testing.assert_array_equal(sent.read(), source.read())
