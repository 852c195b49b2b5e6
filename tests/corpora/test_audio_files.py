from __future__ import annotations

import hashlib
import os
import pickle
import struct
import wave

import numpy as np
import pytest
import soundfile

from latentbench.corpora import AudioError, audio_files
from latentbench.corpora.audio_files import AudioFile, FileSource, described, read_header
from latentbench.corpora.corpus import AudioSource
from latentbench.corpora.ledger import Header, Ledger

NOISE = np.random.default_rng(1).normal(0, 0.1, 32_000)


@pytest.fixture
def ledger(workspace):
    return Ledger.of(workspace)


@pytest.fixture
def listed(workspace):
    """The utterances of some files."""
    return lambda *paths: described([AudioFile(p, p.name, "s") for p in paths], workspace, "")


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
        (cut_mp3, "^cut short: "),
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
    with pytest.raises(AudioError, match="is a folder"):
        FileSource(tmp_path, ledger).digest()


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus"])
def test_another_decoder_is_other_audio_where_it_may_decode_otherwise(
    tmp_path, ledger, suffix, monkeypatch
):
    kind = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(suffix, {})
    path = tmp_path / f"a.{suffix.upper()}"
    soundfile.write(path, NOISE, 16_000, **kind)
    source = FileSource(path, ledger)
    before = source.digest()
    assert source.record().digest == before
    monkeypatch.setattr(audio_files, "DECODER", "libsndfile 9.0")
    assert source.record().digest == source.digest()
    of_bytes = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.digest() == before == of_bytes) == (suffix in {"wav", "flac"})


def test_a_changed_file_has_another_digest_through_the_same_source(tmp_path, listed, tone):
    path = tone(tmp_path / "a.wav")
    os.utime(path, (1e9, 1e9))
    source = listed(path)[0].source
    before = source.digest()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert source.digest() == hashlib.sha256(content).hexdigest() != before


def test_listing_yields_unreadable_files_too(tmp_path, listed, tone):
    paths = [tone(tmp_path / "a.wav", 0.1), tmp_path / "absent.wav", tmp_path / "noise.wav"]
    noise(paths[2])
    found = listed(*paths)
    assert [one.source.path for one in found] == paths
    assert [(one.sample_rate, one.seconds, one.problem) for one in found] == [
        (8000, 0.1, ""),
        (0, 0.0, "not there"),
        (0, 0.0, "cannot be decoded: Format not recognised"),
    ]


def test_sources_travel_to_another_process(tmp_path, ledger, tone):
    source = FileSource(tone(tmp_path / "a.wav"), ledger)
    sent = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    assert sent.digest() == source.digest()
    np.testing.assert_array_equal(sent.read(), source.read())


CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "float": ("WAV", "FLOAT"),
    "ulaw": ("WAV", "ULAW"),
    "gsm": ("WAV", "GSM610"),
    "adpcm": ("WAV", "NMS_ADPCM_32"),
    "aiff": ("AIFF", "PCM_24"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "nist": ("NIST", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def written(path, container, samples=NOISE):
    kind, subtype = CONTAINERS[container]
    soundfile.write(path, samples, 16_000, format=kind, subtype=subtype)
    return path


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_whole_file_is_used_whole(tmp_path, ledger, container):
    path = written(tmp_path / "a.audio", container)
    assert read_header(path).frames == FileSource(path, ledger).read().shape[1] >= 32_000


@pytest.mark.parametrize("share", [0.6, 0.97])
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_cut_file_is_never_used_for_what_is_left(tmp_path, ledger, container, share):
    path = written(tmp_path / "a.audio", container)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError, match=r"^(cut short|cannot be decoded): "):
        FileSource(path, ledger).record()


@pytest.mark.parametrize("container", ["opus", "vorbis"])
def test_an_ogg_that_ends_between_two_pages_is_cut(tmp_path, ledger, container):
    path = written(tmp_path / "a.audio", container)
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    with pytest.raises(AudioError, match=r"^cut short: "):
        FileSource(path, ledger).record()


def promise(path, container, frames):
    """Let the header promise so many of the frames that are there."""
    content = bytearray(path.read_bytes())
    if container == "flac":
        content[21] &= 0xF0
        content[22:26] = struct.pack(">I", frames)
    elif container == "nist":
        content = content.replace(b"sample_count -i 32000", b"sample_count -i %05d" % frames)
    else:
        place, order, more = {
            "wav": (content.find(b"data") + 4, "<I", 0),
            "aiff": (content.find(b"SSND") + 4, ">I", 8),
            "au": (8, ">I", 0),
            "w64": (content.find(b"data") + 16, "<Q", 24),
            "caf": (content.find(b"data") + 4, ">q", 4),
        }[container]
        width = 3 if container == "aiff" else 2
        size = struct.pack(order, more + width * frames)
        content[place : place + len(size)] = size
    path.write_bytes(content)


@pytest.mark.parametrize("container", ["wav", "aiff", "au", "w64", "caf", "nist", "flac"])
def test_a_header_that_promises_less_than_there_is_is_not_believed(tmp_path, ledger, container):
    path = written(tmp_path / "a.audio", container)
    promise(path, container, 1_250)
    with pytest.raises(AudioError, match=r"^(more than its header says: |its samples are not)"):
        FileSource(path, ledger).record()


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_file_written_to_a_pipe_is_used_to_its_end(tmp_path, ledger, size):
    path = written(tmp_path / "a.audio", "wav")
    content = bytearray(path.read_bytes())
    place = content.find(b"data") + 4
    content[4:8] = content[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    assert FileSource(path, ledger).read().shape == (1, 32_000)


def test_chunks_around_the_samples_are_no_samples(tmp_path, ledger):
    path = written(tmp_path / "a.audio", "wav", NOISE[:1000])
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 5000) + bytes(5000))
    assert FileSource(path, ledger).read().shape == (1, 1000)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_is_decoded_to_the_samples_that_were_written(tmp_path, ledger, subtype):
    bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[subtype]
    levels = np.random.default_rng(2).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (500, 2))
    levels = (levels << (32 - bits)).astype(np.int32)
    path = tmp_path / "a.audio"
    soundfile.write(path, levels, 8000, format="FLAC", subtype=subtype)
    expected = (levels / 2.0**31).T
    found = FileSource(path, ledger).read()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scale", [2.0**15, 1e30])
def test_samples_on_the_scale_of_integers_are_not_taken_for_loud_ones(tmp_path, ledger, scale):
    path = tmp_path / "a.wav"
    soundfile.write(path, (NOISE * scale).astype(np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"^beyond full scale: samples up to "):
        FileSource(path, ledger).record()


def test_what_has_no_end_is_not_read(tmp_path, listed):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    paths = [tmp_path / "pipe.wav", tmp_path / "zero.wav"]
    for one in listed(*paths):
        assert one.problem == "no regular file"
        with pytest.raises(AudioError, match=r"^no regular file$"):
            one.source.record(8000)
        with pytest.raises(AudioError, match=r"^no regular file$"):
            one.source.digest()


def test_a_header_that_promises_more_than_can_be_allocates_nothing(tmp_path, ledger):
    path = written(tmp_path / "a.audio", "flac")
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # 2**36 samples
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"^more than 536,870,912 samples$"):
        FileSource(path, ledger).record()


def test_the_digest_is_of_what_was_decoded_whoever_replaces_the_file(
    tmp_path, listed, tone, monkeypatch
):
    one, other = tone(tmp_path / "one.wav", 0.1), tone(tmp_path / "other.wav", 0.2, rate=16000)
    source = listed(one)[0].source
    source.digest()
    expected = hashlib.sha256(other.read_bytes()).hexdigest()
    decode = soundfile.SoundFile.read

    def replaced_meanwhile(self, *args, **options):
        tone(one, 0.3)
        return decode(self, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", replaced_meanwhile)
    other.replace(one)
    found = source.record(8000)
    assert (found.digest, found.sample_rate, found.samples.shape) == (expected, 16000, (1, 3200))


def test_a_source_whose_content_changes_while_it_is_read_is_refused():
    class Changing(AudioSource):
        count = 0

        def read(self):
            return np.zeros((1, 10), np.float32)

        def digest(self):
            self.count += 1
            return f"{self.count:016x}"

        def describe(self):
            return "changing"

    with pytest.raises(AudioError, match="changed while it was read"):
        Changing().record(8000)
