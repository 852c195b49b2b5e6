"""The corpus `lhotse`, on manifests that Lhotse writes and against the samples that it reads."""

import numpy as np
import pytest
import soundfile

from latentbench.corpora.lhotse import Lhotse
from latentbench.corpora.plugin import LhotseOptions
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

lhotse = pytest.importorskip("lhotse")

RATE = 16_000


@pytest.fixture
def recordings(tmp_path):
    """One of one channel, one of two; noise, so that a sample says where it is from."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "mono.wav", 0.1 * rng.normal(size=4 * RATE), RATE)
    soundfile.write(tmp_path / "two.flac", 0.1 * rng.normal(size=(22_050 * 3, 2)), 22_050)
    made = [lhotse.Recording.from_file(tmp_path / name) for name in ("mono.wav", "two.flac")]
    return lhotse.RecordingSet.from_recordings(made)


@pytest.fixture
def cuts(recordings):
    said = [("a", "mono", 0.5, 1.5, "anna", 0), ("b", "mono", 2.5, 1.25, "otto", 0)]
    said += [("c", "two", 1.0, 1.0, "otto", 0), ("d", "two", 0.25, 2.5, "anna", 1)]
    segments = [
        lhotse.SupervisionSegment(
            id=name,
            recording_id=recording,
            start=start,
            duration=lasts,
            channel=channel,
            speaker=speaker,
            gender="F",
            language="de",
            text="not kept",
        )
        for name, recording, start, lasts, speaker, channel in said
    ]
    supervisions = lhotse.SupervisionSet.from_segments(segments)
    return lhotse.CutSet.from_manifests(recordings=recordings, supervisions=supervisions)


def corpus(cuts, tmp_path, name="cuts.jsonl.gz", progress=None, **options):
    cuts.to_file(tmp_path / name)
    workspace = Workspace(tmp_path / "cache", progress or SilentProgress())
    return Lhotse(LhotseOptions(cuts=str(tmp_path / name), **options), workspace)


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
@pytest.mark.parametrize("trimmed", [False, True])
def test_utterances_are_the_supervisions_and_samples_those_of_lhotse(cuts, tmp_path, name, trimmed):
    theirs = {
        one.supervisions[0].id: one for one in cuts.trim_to_supervisions(keep_overlapping=False)
    }
    given = cuts.trim_to_supervisions(keep_overlapping=False) if trimmed else cuts
    found = corpus(given, tmp_path, name).utterances()
    assert {one.id.rpartition("/")[2] for one in found} == set("abcd")
    for one in found:
        other = theirs[one.id.rpartition("/")[2]]
        supervision = other.supervisions[0]
        channel = supervision.channel if isinstance(supervision.channel, int) else 0
        expected = other.load_audio()
        expected = expected[[channel]] if len(expected) > 1 else expected
        np.testing.assert_array_equal(one.source.record(one.sample_rate).samples, expected)
        assert (one.speaker, one.sample_rate) == (supervision.speaker, other.sampling_rate)
        assert one.seconds == pytest.approx(other.duration)
        assert dict(one.attributes) == {"gender": "F", "language": "de"}
        assert one.source.record(one.sample_rate).digest == one.source.digest()
    assert len({one.source.digest() for one in found}) == 4


def test_a_cut_without_supervisions_is_one_utterance(recordings, tmp_path):
    progress = SilentProgress()
    cuts = lhotse.CutSet.from_manifests(recordings=recordings).truncate(
        max_duration=1.0, offset_type="start"
    )
    mono, two = corpus(cuts, tmp_path, progress=progress).utterances()
    assert (mono.speaker, mono.seconds) == (mono.id, 1.0)
    assert two.source.read().shape == (2, 22_050)
    assert "2 cuts without a speaker" in progress.said[0]


def test_what_only_lhotse_can_compute_is_skipped_by_name(cuts, tmp_path):
    (cut, *_) = cuts.trim_to_supervisions(keep_overlapping=False)
    changed = [cut.resample(8_000), cut.pad(duration=3.0), cut.perturb_speed(0.9)]
    changed = [one.with_id(f"changed-{n}") for n, one in enumerate(changed)]
    found = corpus(lhotse.CutSet.from_cuts([cut, *changed]), tmp_path).utterances()
    assert [one.problem for one in found] == [
        "",
        "a recording that Lhotse transforms: save them as audio first, with CutSet.save_audios",
        "a MixedCut, which Lhotse computes: save them as audio first, with CutSet.save_audios",
        "a recording that Lhotse transforms: save them as audio first, with CutSet.save_audios",
    ]


def test_channels_that_are_not_those_of_one_file_are_skipped_by_name(recordings, tmp_path):
    soundfile.write(tmp_path / "other.wav", np.zeros(4 * RATE), RATE)
    sources = [
        lhotse.audio.AudioSource("file", [channel], str(tmp_path / name))
        for channel, name in enumerate(("mono.wav", "other.wav"))
    ]
    apart = lhotse.Recording("apart", sources, RATE, 4 * RATE, 4.0)
    both, one_of_two = apart.to_cut(), apart.to_cut().with_channels([1])
    given = [both, one_of_two.with_id("second"), recordings["two"].to_cut()]
    found = corpus(lhotse.CutSet.from_cuts(given), tmp_path).utterances()
    assert [one.problem.partition(":")[0] for one in found] == [
        "channels [0, 1] of a recording, where a file has [0]",
        "",
        "",
    ]
    np.testing.assert_array_equal(found[1].source.read(), np.zeros((1, 4 * RATE)))
    assert found[2].source.read().shape == (2, 3 * 22_050)


def test_a_missing_recording_and_one_that_is_too_short_are_skipped(cuts, tmp_path):
    (tmp_path / "mono.wav").unlink()
    soundfile.write(tmp_path / "two.flac", np.zeros((22_050 * 2, 2)), 22_050)
    found = {one.id[-1]: one.problem for one in corpus(cuts, tmp_path).utterances()}
    assert found == {
        "a": "not there",
        "b": "not there",
        "c": "",
        "d": "ends at 2.75 s, after its recording",
    }


def test_a_manifest_that_is_none_is_refused(cuts, tmp_path):
    made = corpus(cuts, tmp_path)
    assert made.identity == corpus(cuts, tmp_path).identity
    (tmp_path / "cuts.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UsageError, match=r"cannot be read.*\n.*CutSet\.to_file"):
        made.utterances()
    (tmp_path / "recordings.jsonl").write_text('{"id": "a", "sources": []}\n')
    options = LhotseOptions(cuts=str(tmp_path / "recordings.jsonl"))
    with pytest.raises(UsageError, match=r"line 1, is no cut: KeyError 'type'"):
        Lhotse(options, Workspace(tmp_path / "cache")).utterances()
    with pytest.raises(UsageError, match=r"corpus\.cuts='' is no file"):
        Lhotse(LhotseOptions(), Workspace(tmp_path / "cache")).utterances()
