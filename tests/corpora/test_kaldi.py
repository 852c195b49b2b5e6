"""The corpus `kaldi`: recordings and segments of a data folder."""

import numpy as np
import pytest
import soundfile

from latentbench.corpora.kaldi import Kaldi
from latentbench.corpora.plugin import KaldiOptions
from latentbench.errors import UsageError
from latentbench.workspace import Workspace

RATE = 8_000


@pytest.fixture
def data(tmp_path):
    """Two recordings of 2 s: a ramp each, so that a sample says where it is from."""
    root = tmp_path / "train"
    root.mkdir()
    for name in ("rec1", "rec2"):
        ramp = np.arange(2 * RATE, dtype=np.int16)
        soundfile.write(root / f"{name} a.wav", ramp, RATE)
    (root / "wav.scp").write_text("rec1 rec1 a.wav\nrec2 rec2 a.wav\nrec3 sox x.wav -t wav - |\n")
    (root / "utt2spk").write_text("anna-2 anna\nanna-1 anna\notto-1 otto\n")
    (root / "segments").write_text("anna-1 rec1 0.5 1.25\nanna-2 rec1 1.5 -1\notto-1 rec2 0 2\n")
    return root


def corpus(root, tmp_path, **options):
    return Kaldi(KaldiOptions(root=str(root), **options), Workspace(tmp_path / "cache"))


def test_segments_are_the_samples_between_their_times(data, tmp_path):
    found = corpus(data, tmp_path).utterances()
    assert [(one.id, one.speaker, one.seconds) for one in found] == [
        ("anna-1", "anna", 0.75),
        ("anna-2", "anna", 0.5),
        ("otto-1", "otto", 2.0),
    ]
    levels = [np.round(one.source.read()[0] * 2**15).astype(int) for one in found]
    assert [(one[0], one[-1]) for one in levels] == [
        (0.5 * RATE, 1.25 * RATE - 1),
        (1.5 * RATE, 2 * RATE - 1),
        (0, 2 * RATE - 1),
    ]
    for one in found:
        assert one.source.record(RATE).digest == one.source.digest()
    assert len({one.source.digest() for one in found}) == 3


def test_without_segments_a_recording_is_an_utterance(data, tmp_path):
    (data / "segments").unlink()
    (data / "utt2spk").write_text("rec1 anna\nrec3 otto\n")
    first, second = corpus(data, tmp_path).utterances()
    assert (first.id, first.seconds, first.problem) == ("rec1", 2.0, "")
    assert second.problem == "wav.scp gives a command, and no command is run"


def test_a_segment_after_its_recording_is_skipped(data, tmp_path):
    (data / "segments").write_text("anna-1 rec1 1 3\nanna-2 rec1 0 1\notto-1 rec2 2.5 -1\n")
    found = {one.id: one.problem for one in corpus(data, tmp_path).utterances()}
    assert found == {
        "anna-1": "ends at 3 s, after its recording",
        "anna-2": "",
        "otto-1": "begins after its recording",
    }


def test_an_end_rounded_up_in_decimals_is_that_of_the_recording(data, tmp_path):
    rate, samples = 44_100, 61_923  # 1.40414966 s
    soundfile.write(data / "rec1 a.wav", np.arange(samples, dtype=np.int16), rate)
    (data / "segments").write_text("anna-1 rec1 0.5 1.40415\nanna-2 rec1 0.5 1.4042\n")
    (data / "utt2spk").write_text("anna-1 anna\nanna-2 anna\n")
    whole, late = corpus(data, tmp_path).utterances()
    assert (whole.problem, late.problem) == ("", "ends at 1.4042 s, after its recording")
    assert whole.source.read().shape == (1, samples - rate // 2)


def test_paths_are_relative_to_base(data, tmp_path):
    (data / "wav.scp").write_text("rec1 train/rec1 a.wav\nrec2 train/rec2 a.wav\n")
    assert corpus(data, tmp_path).utterances()[0].problem == "not there"
    assert not corpus(data, tmp_path, base=str(tmp_path)).utterances()[0].problem


def test_other_segments_are_another_corpus(data, tmp_path):
    before = corpus(data, tmp_path).identity
    assert corpus(data, tmp_path).identity == before
    (data / "segments").write_text("anna-1 rec1 0.5 1\nanna-2 rec1 1.5 2\notto-1 rec2 0 2\n")
    assert corpus(data, tmp_path).identity != before


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("utt2spk", "anna-1\n", "line 1: 'anna-1' needs an id and 1 more"),
        ("utt2spk", "a x\na y\n", "line 2: 'a y' names it twice"),
        ("utt2spk", "nobody x\n", "segments' has no line for 'nobody'"),
        ("segments", "anna-1 rec1 2 1\nanna-2 rec1 0 1\notto-1 rec2 0 1\n", "times '2 1'"),
        ("segments", "anna-1 rec1 nan 1\nanna-2 rec1 0 1\notto-1 rec2 0 1\n", "times 'nan 1'"),
        ("segments", "anna-1 rec9 0 1\nanna-2 rec1 0 1\notto-1 rec2 0 1\n", "line for 'rec9'"),
    ],
)
def test_a_line_that_is_wrong_is_named(data, tmp_path, name, text, told):
    (data / name).write_text(text)
    with pytest.raises(UsageError) as error:
        corpus(data, tmp_path).utterances()
    assert told in str(error.value)


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        corpus(tmp_path / "absent", tmp_path).utterances()
    with pytest.raises(UsageError, match=r"corpus\.root='' is no folder"):
        Kaldi(KaldiOptions(), Workspace(tmp_path)).utterances()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"wav\.scp' cannot be read: No such file"):
        corpus(tmp_path / "empty", tmp_path).utterances()
