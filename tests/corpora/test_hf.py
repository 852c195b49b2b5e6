"""The corpus `hf`, on Parquet files and folders that `datasets` writes."""

import io
import json

import numpy as np
import pytest
import soundfile

from latentbench.corpora.hf import ROWS, HuggingFace
from latentbench.corpora.plugin import HFOptions
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

datasets = pytest.importorskip("datasets")

RATE = 8_000


def audio(number, kind):
    file = io.BytesIO()
    soundfile.write(file, np.arange(number, number + RATE, dtype=np.int16), RATE, format=kind)
    return {"bytes": file.getvalue(), "path": f"{number}.{kind.lower()}"}


@pytest.fixture
def rows():
    made = {
        "audio": [audio(100 * n, ("FLAC", "WAV", "OGG")[n % 3]) for n in range(6)],
        "speaker_id": [n % 2 for n in range(6)],
        "gender": ["F", "M"] * 3,
    }
    return datasets.Dataset.from_dict(made).cast_column("audio", datasets.Audio(decode=False))


@pytest.fixture
def parquet(tmp_path, rows):
    folder = tmp_path / "mine"
    folder.mkdir()
    rows.select(range(4)).to_parquet(str(folder / "train-00000-of-00002.parquet"))
    rows.select(range(4, 6)).to_parquet(str(folder / "train-00001-of-00002.parquet"))
    return folder


def corpus(path, tmp_path, progress=None, **options):
    workspace = Workspace(tmp_path / "cache", progress or SilentProgress())
    return HuggingFace(HFOptions(path=str(path), **options), workspace)


def test_rows_of_parquet_files_are_utterances(parquet, rows, tmp_path):
    made = corpus(parquet, tmp_path, attributes="gender")
    assert made.is_at_hand()
    found = made.utterances()
    assert [one.id for one in found] == [f"{n:08d}" for n in range(6)]
    assert [one.speaker for one in found] == ["0", "1"] * 3
    assert [one.attributes["gender"] for one in found] == ["F", "M"] * 3
    for one, row in zip(found, rows, strict=True):
        expected, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        recording = one.source.record(one.sample_rate)
        np.testing.assert_array_equal(recording.samples[0], expected)
        assert (one.sample_rate, one.seconds) == (rate, len(expected) / rate)
        assert one.source.path.read_bytes() == row["audio"]["bytes"]
    assert made.identity["decoder"] == f"libsndfile {soundfile.__libsndfile_version__}"


def test_a_folder_of_save_to_disk_has_splits(rows, tmp_path):
    datasets.DatasetDict({"dev": rows.select(range(2)), "test": rows}).save_to_disk(
        str(tmp_path / "saved")
    )
    assert len(corpus(tmp_path / "saved", tmp_path, split="dev").utterances()) == 2
    with pytest.raises(UsageError, match=r"no split 'tset'.*\n.*'test'"):
        corpus(tmp_path / "saved", tmp_path, split="tset").utterances()


def test_the_first_rows_are_taken_and_rows_without_audio_are_told(rows, tmp_path):
    rows = rows.to_dict()
    rows["audio"][1] = None
    made = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    made.save_to_disk(str(tmp_path / "saved"))
    first, second, third = corpus(tmp_path / "saved", tmp_path, take=3).utterances()
    assert (first.problem, second.problem, third.problem) == ("", "no audio in its row", "")


def test_what_was_fetched_before_a_kill_is_not_fetched_again(parquet, tmp_path):
    made = corpus(parquet, tmp_path)
    whole = [one.source.digest() for one in made.utterances()]
    (listing,) = (tmp_path / "cache").rglob(ROWS)
    (listing.parent / "ready.json").unlink()
    lines = listing.read_text().splitlines(keepends=True)
    listing.write_text("".join(lines[:2]) + lines[2][:10])  # killed within the third row
    first = listing.parent / json.loads(lines[0])["file"]
    first.write_bytes(first.read_bytes())
    changed = first.stat().st_mtime_ns
    assert [one.source.digest() for one in corpus(parquet, tmp_path).utterances()] == whole
    assert first.stat().st_mtime_ns == changed
    assert listing.read_text() == "".join(lines)


def test_changed_files_are_another_corpus(parquet, rows, tmp_path):
    before = corpus(parquet, tmp_path).identity
    assert corpus(parquet, tmp_path).identity == before
    rows.select(range(3)).to_parquet(str(parquet / "train-00001-of-00002.parquet"))
    assert corpus(parquet, tmp_path).identity != before
    assert len(corpus(parquet, tmp_path).utterances()) == 7


def test_what_is_not_there_is_said(parquet, tmp_path):
    with pytest.raises(UsageError, match=r"no column 'voice'.*\n.*audio, speaker_id, gender"):
        corpus(parquet, tmp_path, speaker="voice").utterances()
    with pytest.raises(UsageError, match=r"needs a dataset.*\n.*corpus\.path"):
        corpus("", tmp_path).utterances()
    with pytest.raises(UsageError, match=r"'.*mine' cannot be read: .*\n.*same command"):
        corpus(parquet, tmp_path, split="none").utterances()
