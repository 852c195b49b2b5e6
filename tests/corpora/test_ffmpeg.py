"""Audio that ffmpeg decodes, and what is said where it is not installed."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from latentbench.corpora import ffmpeg
from latentbench.corpora.audio_folder import Folder
from latentbench.corpora.plugin import FolderOptions
from latentbench.workspace import Workspace

RATE = 16_000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")


def listed(root):
    made = Folder(FolderOptions(root=str(root)), Workspace(root.parent / "cache"))
    return {one.id: one for one in made.utterances()}


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "aac", "mp4"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_comes_back_at_its_pitch_and_level(tmp_path, suffix, channels):
    root = tmp_path / "audio"
    (root / "anna").mkdir(parents=True)
    time = np.arange(2 * RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone] * channels, 1), RATE)
    made = root / "anna" / f"a.{suffix}"
    ffmpeg_ = [shutil.which("ffmpeg"), "-v", "error", "-i", tmp_path / "tone.wav", "-b:a", "96k"]
    subprocess.run([*ffmpeg_, "-c:a", "aac", made], check=True)
    one = listed(root)[f"anna/a.{suffix}"]
    assert (one.problem, one.sample_rate) == ("", RATE)
    assert one.seconds == pytest.approx(2, abs=0.2)
    recording = one.source.record(one.sample_rate)
    assert recording.samples.shape[0] == channels
    assert recording.samples.shape[1] == pytest.approx(2 * RATE, abs=3 * 1024)
    middle = recording.samples[0, RATE // 2 : RATE // 2 + RATE]
    spectrum = np.abs(np.fft.rfft(middle)) / (RATE / 2)
    assert spectrum.argmax() == 440
    assert spectrum[440] == pytest.approx(0.5, rel=0.05)
    assert recording.digest == one.source.digest()
    assert one.source.decoder == ffmpeg.version()
    assert ffmpeg.version().startswith("ffmpeg ")


@needs_ffmpeg
def test_damage_is_told_and_a_playlist_is_no_audio(tmp_path):
    root = tmp_path / "audio"
    (root / "anna").mkdir(parents=True)
    (root / "anna" / "b.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + bytes(500))
    (root / "anna" / "c.m4a").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n/etc/passwd\n")
    problems = [one.problem for one in listed(root).values()]
    assert all(one.startswith("cannot be decoded: ") for one in problems)


def test_without_ffmpeg_a_file_is_skipped_by_name(tmp_path, monkeypatch):
    (tmp_path / "audio" / "anna").mkdir(parents=True)
    (tmp_path / "audio" / "anna" / "a.m4a").write_bytes(bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = listed(tmp_path / "audio")["anna/a.m4a"].problem
    assert problem == "cannot be decoded: ffprobe is not installed, which reads this format"
