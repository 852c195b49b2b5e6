from __future__ import annotations

import errno
import os

import pytest

from latentbench.corpora import AudioError
from latentbench.corpora.audio_folder import Folder
from latentbench.corpora.plugin import FolderOptions
from latentbench.errors import UsageError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    return folder


@pytest.fixture
def corpus(workspace, root):
    return lambda **options: Folder(FolderOptions(**({"root": str(root)} | options)), workspace)


def speakers(corpus):
    return {one.id: one.speaker for one in corpus.utterances()}


def test_the_first_folder_is_the_speaker(root, corpus, tone):
    tone(root / "otto" / "b.flac")
    tone(root / "anna" / "deep" / "c.OGG", format="OGG")
    tone(root / "anna" / "a.wav", 0.25, rate=44100, channels=2)
    (root / "anna" / "notes.txt").write_text("no audio")
    tone(root / "anna" / "._a.wav")
    found = corpus().utterances()
    assert [one.id for one in found] == ["anna/a.wav", "anna/deep/c.OGG", "otto/b.flac"]
    assert [one.speaker for one in found] == ["anna", "anna", "otto"]
    assert (found[0].sample_rate, found[0].seconds) == (44100, 0.25)
    assert found[0].source.read().shape == (2, 11025)


def test_files_that_name_no_speaker_are_left_out_and_said(root, corpus, tone, workspace):
    tone(root / "anna" / "a.wav")
    for name in "12345":
        tone(root / f"{name}.wav")
    assert list(speakers(corpus())) == ["anna/a.wav"]
    (said,) = workspace.progress.said
    assert said == (
        "5 files of audio do not fit corpus.speaker_pattern='{speaker}/**' and are left out: "
        "1.wav, 2.wav, 3.wav and 2 more"
    )


def test_a_pattern_names_the_speaker_and_attributes(root, corpus, tone):
    tone(root / "f" / "anna_1.wav")
    tone(root / "m" / "otto_1.wav")
    found = corpus(speaker_pattern="{sex}/{speaker}_*").utterances()
    assert [(one.speaker, one.attributes) for one in found] == [
        ("anna", {"sex": "f"}),
        ("otto", {"sex": "m"}),
    ]


def test_a_glob_chooses(root, corpus, tone):
    tone(root / "anna" / "a.wav")
    tone(root / "anna" / "a.flac")
    assert list(speakers(corpus(glob="**/*.flac"))) == ["anna/a.flac"]
    with pytest.raises(UsageError, match=r"no audio below .* fits corpus\.glob='\*\*/\*\.mp3'"):
        corpus(glob="**/*.mp3").utterances()


def test_a_link_that_leads_back_up_is_followed_once(root, corpus, tone, tmp_path):
    tone(tmp_path / "elsewhere" / "a.wav")
    (root / "anna").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(root)
    assert list(speakers(corpus())) == ["anna/a.wav"]


def test_a_link_to_a_speaker_does_not_rename_them(root, corpus, tone):
    tone(root / "b" / "deep" / "a.wav")
    before = speakers(corpus())
    (root / "_old_b").symlink_to(root / "b")
    (root / "a").mkdir()
    (root / "a" / "link").symlink_to(root / "b" / "deep")
    assert speakers(corpus()) == before == {"b/deep/a.wav": "b"}


def test_links_to_folders_that_are_listed_are_told(root, corpus, workspace, tone):
    tone(root / "b" / "a.wav")
    (root / "c").symlink_to(root / "b")
    corpus().utterances()
    assert workspace.progress.said == ["1 link to folders that are listed already, left out: c"]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(root, corpus, tone, monkeypatch):
    tone(root / "anna" / "a.wav")
    tone(root / "otto" / "a.wav")
    real = os.scandir

    def forbidden(path):
        if str(path).endswith("otto"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(UsageError, match="otto' cannot be listed: Permission denied"):
        corpus().utterances()


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"root": ""}, "needs to know the folder", "--set corpus.root="),
        ({"root": "/absent/voices"}, "'/absent/voices' is no folder", ""),
        ({}, "no audio below", "known by their suffix"),
        ({"speaker_pattern": "*/x"}, "does not say where the speaker is", "{speaker}/**"),
    ],
)
def test_what_cannot_be_used(corpus, options, message, hint):
    with pytest.raises(UsageError, match=message) as error:
        corpus(**options).utterances()
    assert hint in error.value.hint


def test_a_pattern_that_fits_nothing_shows_a_path(root, corpus, tone):
    tone(root / "a.wav")
    with pytest.raises(UsageError, match=r"fits none of 1 files, e\.g\. 'a\.wav'") as error:
        corpus().utterances()
    assert "{speaker}_*.wav" in error.value.hint


@pytest.fixture
def listed(tmp_path, corpus):
    """The corpus with such a CSV."""

    def make(text, **options):
        file = tmp_path / "speakers.csv"
        file.write_text(text, "utf-8-sig")
        return corpus(speakers_csv=str(file), **options)

    return make


def test_a_csv_names_speakers_and_attributes(root, listed, tone):
    tone(root / "b.wav")
    tone(root / "deep" / "a.audio", format="WAV")
    tone(root / "not-listed.wav")
    found = listed(
        "language,path,speaker\nde,deep/a.audio,anna\n,b.wav,otto\n"  # any suffix when listed
    ).utterances()
    assert [(one.id, one.speaker, dict(one.attributes)) for one in found] == [
        ("b.wav", "otto", {}),
        ("deep/a.audio", "anna", {"language": "de"}),
    ]


def test_a_listed_file_that_is_absent_is_an_utterance_that_cannot_be_read(root, listed, tone):
    tone(root / "a.wav")
    found = listed("path,speaker\na.wav,anna\ngone.wav,otto\n").utterances()
    assert [(one.id, one.seconds, one.sample_rate) for one in found] == [
        ("a.wav", 0.1, 8000),
        ("gone.wav", 0.0, 0),
    ]
    assert [one.problem for one in found] == ["", "not there"]
    with pytest.raises(AudioError, match="not there"):
        found[1].source.read()


def test_a_listed_file_without_speaker_is_a_speaker_of_its_own(root, listed, tone, workspace):
    tone(root / "a.wav")
    tone(root / "b.wav")
    assert speakers(listed("path,speaker\na.wav,\nb.wav,otto\n")) == {
        "a.wav": "a.wav",
        "b.wav": "otto",
    }
    assert "1 files have no speaker" in workspace.progress.said[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,who\na.wav,anna\n", "has no column 'path' and no column 'speaker'"),
        ("path,who\na.wav,anna\n", "has no column 'speaker'"),
        ("", "has no column 'path'"),
        ("path,speaker\n", "lists no file"),
        ("path,speaker\na.wav,anna\n./a.wav,anna\n", r"lists 'a\.wav' twice"),
        ("path,speaker\n../a.wav,anna\n", r"line 2: '\.\./a\.wav' is no path below corpus\.root"),
        ("path,speaker\n/a.wav,anna\n", "line 2: '/a.wav' is no path"),
        ("path,speaker\n,anna\n", "line 2: '' is no path"),
        ("path,speaker\ngone.wav,anna\n", "None of the 1 files that .* lists is there"),
    ],
)
def test_a_csv_that_cannot_be_used(root, listed, tone, text, message):
    tone(root / "a.wav")
    with pytest.raises(UsageError, match=message):
        listed(text).utterances()


def test_a_csv_that_cannot_be_read(corpus, tmp_path):
    absent = corpus(speakers_csv=str(tmp_path / "absent.csv"))
    with pytest.raises(UsageError, match=r"absent\.csv' cannot be read: No such file"):
        absent.utterances()
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        absent.identity  # noqa: B018 - asking is the test
    (tmp_path / "latin.csv").write_bytes("path,speaker\n\xfc.wav,x\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"cannot be read: .*decode"):
        corpus(speakers_csv=str(tmp_path / "latin.csv")).utterances()


def test_identity_is_what_chooses_the_files_not_where_they_are(root, corpus, listed, tmp_path):
    same = corpus().identity
    assert corpus(glob="*.wav").identity != same
    assert corpus(speaker_pattern="{speaker}_*").identity != same
    assert listed("path,speaker\n").identity != listed("path,speaker\nx,y\n").identity
    moved = tmp_path / "elsewhere" / "voices"
    moved.parent.mkdir()
    root.rename(moved)
    assert corpus(root=str(moved)).identity == same
    assert corpus().name == "folder voices"


def test_the_shared_manifest(data, corpus):
    found = corpus(root=str(data), speakers_csv=str(data / "manifest.csv")).utterances()
    german = [one for one in found if one.id.startswith("german/mls_de/")]
    assert {one.speaker for one in german} == {"136", "143", "2037", "3503", "9639"}
    for one in found:
        assert one.sample_rate == int(one.attributes["sample_rate"])
        assert one.seconds == pytest.approx(float(one.attributes["seconds"]), abs=0.06)


def test_audio_that_libsndfile_does_not_read_is_listed_with_its_reason(root, corpus, tone):
    tone(root / "anna" / "a.wav")
    (root / "anna" / "c.wma").write_bytes(bytes(500))
    (root / "anna" / "notes.txt").write_text("no audio")
    assert {one.id: one.problem for one in corpus().utterances()} == {
        "anna/a.wav": "",
        "anna/c.wma": "cannot be decoded: Format not recognised",
    }


def test_a_file_whose_name_is_no_text_is_used(root, corpus, tone):
    (root / "anna").mkdir()
    path = root / os.fsdecode(b"anna/caf\xe9.wav")
    tone(root / "anna" / "a.wav").rename(path)
    (found,) = corpus().utterances()
    assert (found.id, found.problem) == ("anna/caf\\xe9.wav", "")
    assert found.source.record(8000).samples.shape == (1, 800)


def test_a_link_to_a_file_that_is_listed_is_not_used_beside_it(root, corpus, tone, tmp_path):
    tone(root / "b" / "one.wav")
    (root / "a").mkdir()
    (root / "a" / "link.wav").symlink_to(root / "b" / "one.wav")
    (root / "a" / "elsewhere.wav").symlink_to(tone(tmp_path / "elsewhere.wav"))
    problems = {one.id: one.problem for one in corpus().utterances()}
    assert problems == {
        "a/elsewhere.wav": "",
        "a/link.wav": "a link to 'b/one.wav', which is listed too",
        "b/one.wav": "",
    }
