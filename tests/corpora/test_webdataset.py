"""The corpus `webdataset`, on tar files that the library of that name writes."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import soundfile

from latentbench.corpora.plugin import WebDatasetOptions
from latentbench.corpora.webdataset import WebDataset
from latentbench.errors import UsageError
from latentbench.workspace import Workspace

webdataset = pytest.importorskip("webdataset")

RATE = 8_000


def audio(number, kind="FLAC"):
    """A ramp that says which sample it is of."""
    file = io.BytesIO()
    soundfile.write(file, np.arange(number, number + RATE, dtype=np.int16), RATE, format=kind)
    return file.getvalue()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        with webdataset.TarWriter(str(folder / f"a-{shard:06d}.tar")) as tar:
            for number in (2 * shard, 2 * shard + 1):
                said = {"speaker": f"s{number % 2}", "sex": "F", "text": "x" * 500, "n": 1}
                name = f"s{number % 2}/u{number}"
                tar.write({"__key__": name, "flac": audio(100 * number), "json": said})
            tar.write({"__key__": f"notes{shard}", "txt": "no audio"})
    return folder


def corpus(root, **options):
    return WebDataset(WebDatasetOptions(root=str(root), **options), Workspace(root.parent / "c"))


def read(tar):
    """The samples of a tar by the library, which leaves files that it opens itself open."""
    with tar.open("rb") as stream:
        files = webdataset.tariterators.tar_file_expander([{"url": str(tar), "stream": stream}])
        return list(webdataset.tariterators.group_by_keys(files))


def test_samples_are_those_that_the_library_reads(root):
    found = corpus(root).utterances()
    theirs = [one for tar in sorted(root.glob("*.tar")) for one in read(tar) if "flac" in one]
    assert [one.id.partition("/")[2] for one in found] == [one["__key__"] for one in theirs]
    for one, other in zip(found, theirs, strict=True):
        expected, rate = soundfile.read(io.BytesIO(other["flac"]), dtype="float32")
        recording = one.source.record(one.sample_rate)
        np.testing.assert_array_equal(recording.samples[0], expected)
        assert (one.sample_rate, one.seconds) == (rate, len(expected) / rate)
        assert recording.digest == one.source.digest()
    assert [one.speaker for one in found] == ["s0", "s1", "s0", "s1"]
    assert dict(found[0].attributes) == {"speaker": "s0", "sex": "F"}
    assert len({one.source.digest() for one in found}) == 4
    assert [one.id for one in found][:2] == ["a-000000/s0/u0", "a-000000/s1/u1"]
    there = pickle.loads(pickle.dumps(found[2]))  # noqa: S301 - our own
    np.testing.assert_array_equal(there.source.read(), found[2].source.read())


def test_keys_may_name_the_speakers(root):
    found = corpus(root, speaker_pattern="{speaker}/**").utterances()
    assert [one.speaker for one in found] == ["s0", "s1", "s0", "s1"]
    with pytest.raises(UsageError, match=r"None of the 4 samples.*\n.*speaker_pattern"):
        corpus(root, speaker_field="voice").utterances()


def test_a_sample_that_is_damaged_or_without_a_speaker_is_told(root):
    with webdataset.TarWriter(str(root / "b.tar")) as tar:
        tar.write({"__key__": "cut", "flac": audio(0)[:50], "json": {"speaker": "s0"}})
        tar.write({"__key__": "whose", "wav": audio(0, "WAV")})
    progress = Workspace().progress
    made = WebDataset(WebDatasetOptions(root=str(root)), Workspace(root.parent / "c", progress))
    cut, whose = made.utterances()[-2:]
    assert cut.problem.startswith("cannot be decoded")
    assert (whose.speaker, whose.problem) == ("b/whose", "")
    assert "1 sample without a speaker" in progress.said[0]


def test_what_is_no_tar_file_is_refused_by_name(root):
    (root / "c.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(UsageError, match=r"'.*c\.tar' cannot be read as a tar file"):
        corpus(root).utterances()
    with pytest.raises(UsageError, match=r"corpus\.root='.*none' is no tar.*\n.*\*\.tar"):
        corpus(root / "none").utterances()
    with tarfile.open(root / "c.tar", "w") as tar:
        for name, content in (("u.json", b"{"), ("u.wav", audio(0, "WAV"))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(UsageError, match=r"'u\.json' is no JSON"):
        corpus(root).utterances()


def test_a_changed_tar_is_other_audio(root):
    before = corpus(root).utterances()[0].source.digest()
    with webdataset.TarWriter(str(root / "a-000000.tar")) as tar:
        tar.write({"__key__": "s0/u0", "flac": audio(7), "json": {"speaker": "s0"}})
    assert corpus(root).utterances()[0].source.digest() != before


def test_another_decoder_is_other_audio_where_it_may_decode_otherwise(root, monkeypatch):
    with webdataset.TarWriter(str(root / "e.tar")) as tar:
        tar.write({"__key__": "u", "mp3": audio(7, "MP3"), "json": {"speaker": "s0"}})
    before = [one.source.digest() for one in corpus(root).utterances()]
    monkeypatch.setattr("latentbench.corpora.audio_files.DECODER", "libsndfile 9.0")
    after = [one.source.digest() for one in corpus(root).utterances()]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True] * 4 + [False]


def test_a_key_ends_at_the_first_dot_and_stands_once_in_a_tar(root):
    with webdataset.TarWriter(str(root / "d.tar")) as tar:
        tar.write({"__key__": "one", "wav": audio(0, "WAV"), "near.json": {"speaker": "s0"}})
        tar.write({"__key__": "two", "wav": audio(1, "WAV"), "json": {"speaker": "s0"}})
    assert [one.speaker for one in corpus(root).utterances()][-2:] == ["s0", "s0"]
    with webdataset.TarWriter(str(root / "d.tar")) as tar:
        for number in (0, 1, 0):
            sample = {"wav": audio(number, "WAV"), "json": {"speaker": "s0"}}
            tar.write({"__key__": f"u{number}", **sample})
    with pytest.raises(UsageError, match=r"d\.tar' has the key 'u0' twice"):
        corpus(root).utterances()


def test_names_that_are_no_utf_8_can_be_kept(root):
    with tarfile.open(root / "z.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for kind, content in (
            ("flac", audio(7)),
            ("json", rb'{"speaker": "\ud800 anna", "place": "caf\udce9"}'),
        ):
            member = tarfile.TarInfo(f"caf\udce9.{kind}")  # latin-1, as tarfile spells it
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    *_, found = corpus(root).utterances()
    assert (found.id, found.speaker) == (r"z/caf\xe9", r"\ud800 anna")
    assert found.attributes["place"] == r"caf\xe9"
    assert found.source.read().shape == (1, RATE)
