"""Which audio a run uses: copies, splits, counts, attributes, and audio that changes."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from latentbench.checks import make_corpus
from latentbench.cli.output import console
from latentbench.config import read_layers, resolve
from latentbench.corpora.selection import choose_audio
from latentbench.errors import UsageError
from latentbench.experiment import run_experiment
from latentbench.latents.manifest import read_manifest
from latentbench.planning import plan_experiment
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.reports.plan import plan_report
from latentbench.reports.run import remarks
from latentbench.reports.tables import show
from latentbench.workspace import Workspace

RATE = 16_000


@pytest.fixture
def speech(tmp_path):
    """Four speakers, three files of two seconds of noise each."""
    rng = np.random.default_rng(0)
    root = tmp_path / "speech"
    for speaker in range(4):
        (root / f"speaker{speaker}").mkdir(parents=True)
        for number in range(3):
            samples = rng.normal(0, 0.1, 2 * RATE)
            soundfile.write(root / f"speaker{speaker}" / f"{number}.wav", samples, RATE)
    return root


def configure(root, *assignments):
    small = (
        f"corpus={{name: folder, root: '{root}'}}",
        "encoder={name: logmel, mels: 8}",
        "utterances.min_seconds=0",
        "predictor=linear",
        "controls=[]",
        "task.horizons=[1]",
        "task.context_frames=4",
        "split.eval_fraction=0.25",
        "device=cpu",
    )
    return resolve(read_layers(None, None, (*small, *assignments)), load_registry())


def run(root, tmp_path, *assignments, name="run"):
    progress = SilentProgress()
    config = configure(root, *assignments)
    workspace = Workspace(tmp_path / "cache", progress)
    result = run_experiment(config, tmp_path / name, workspace, load_registry())
    return result, progress.said


def sides(root, tmp_path, *assignments):
    config = configure(root, *assignments)
    corpus = make_corpus(config, Workspace(tmp_path / "cache"), load_registry())
    return choose_audio(corpus, config.utterances, config.split, SilentProgress()).split


@pytest.mark.parametrize("how", ["copy", "hard link", "transcode"])
def test_a_train_speakers_audio_under_an_eval_speakers_name_is_not_evaluated(speech, tmp_path, how):
    split = sides(speech, tmp_path)
    known, judged = split.train[0], split.eval[0]
    for number in range(3):
        file, other = speech / known / f"{number}.wav", speech / judged / f"copy-{number}.wav"
        if how == "copy":
            shutil.copy(file, other)
        elif how == "hard link":
            other.hardlink_to(file)
        else:
            samples, rate = soundfile.read(file, dtype="int16")
            soundfile.write(other.with_suffix(".flac"), samples, rate)
    result, _ = run(speech, tmp_path)
    assert sum(result.corpus.utterances.values()) == 12
    assert len(result.corpus.skipped) == 3
    assert all(one.reason.startswith("a copy: the same ") for one in result.corpus.skipped)
    heard = {
        side: {
            soundfile.read(speech / row.utterance)[0].tobytes()
            for row in read_manifest(tmp_path / "run" / "manifest.parquet")[1]
            if row.split == side and not row.skipped
        }
        for side in ("train", "eval")
    }
    assert sum(map(len, heard.values())) == 12
    assert not heard["train"] & heard["eval"]


def test_copies_within_one_speaker_count_once(speech, tmp_path):
    shutil.copy(speech / "speaker2" / "0.wav", speech / "speaker2" / "again.wav")
    result, _ = run(speech, tmp_path)
    assert sum(result.corpus.utterances.values()) == 12
    assert [one.utterance for one in result.corpus.skipped] == ["speaker2/again.wav"]


def spoil(root, speaker):
    for number, file in enumerate(sorted((root / speaker).iterdir())):
        if number % 2:
            file.write_bytes(b"RIFF no sound")
        else:
            soundfile.write(file, np.zeros(RATE // 2), RATE)


def test_speakers_without_usable_audio_take_no_place_on_a_side(speech, tmp_path, capsys):
    """Of 4 speakers 2 can be used: the split is theirs, and the counts say what became of all."""
    split = sides(speech, tmp_path)
    for speaker in (split.eval[0], split.train[0]):
        spoil(speech, speaker)
    wanted = "utterances.min_seconds=1"
    config = configure(speech, wanted)
    plan = plan_experiment(config, Workspace(tmp_path / "cache"), load_registry())
    result, _ = run(speech, tmp_path, wanted)
    assert [len(result.corpus.speakers[side]) for side in ("train", "eval")] == [1, 1]
    assert result.corpus.utterances == {"train": 3, "eval": 3}
    assert plan.counts == result.corpus.counts
    neither = result.corpus.counts["neither"]
    assert (neither.listed, neither.used) == (6, 0)
    assert neither.dropped == {"shorter than 1 s": 4}
    assert neither.skipped == {"cannot be decoded": 2}
    line = (
        "speakers on neither side: 0 of 6 utterances are used; "
        "4 dropped (shorter than 1 s), 2 skipped (cannot be decoded)"
    )
    assert line in list(remarks(result))
    show(plan_report(plan), console())
    assert line in " ".join(capsys.readouterr().out.split())


def test_changed_audio_is_not_answered_with_the_finished_result(speech, tmp_path):
    run(speech, tmp_path)
    _, said = run(speech, tmp_path)
    assert any("is finished" in text for text in said)
    samples = np.random.default_rng(9).normal(0, 0.1, 2 * RATE)
    soundfile.write(speech / "speaker1" / "1.wav", samples, RATE)
    with pytest.raises(UsageError, match=r"other audio: 1 utterances.*speaker1/1\.wav.*\n.*--out"):
        run(speech, tmp_path)


def test_a_new_file_is_changed_audio_too(speech, tmp_path):
    run(speech, tmp_path)
    soundfile.write(speech / "speaker1" / "new.wav", np.ones(2 * RATE) * 0.1, RATE)
    with pytest.raises(UsageError, match=r"other audio: 1 utterances.*speaker1/new\.wav"):
        run(speech, tmp_path)


def test_a_finished_run_is_read_where_its_audio_is_gone_and_says_so(speech, tmp_path):
    first, _ = run(speech, tmp_path)
    speech.rename(tmp_path / "elsewhere")
    again, said = run(speech, tmp_path)
    assert again.to_json() == first.to_json()
    assert any("Whether its audio has changed is unknown" in text for text in said)


def test_silence_on_the_eval_side_is_remarked_on(speech, tmp_path):
    """Hours of it move eval ΔNLL by nats, and the train side shows nothing."""
    (judged,) = sides(speech, tmp_path).eval
    soundfile.write(speech / judged / "silence.wav", np.zeros(20 * RATE), RATE)
    result, _ = run(speech, tmp_path)
    assert result.latents["train"].silent == 0
    assert result.latents["eval"].silent > 0.5
    (line,) = [one for one in remarks(result) if "exactly zero" in one]
    assert line.startswith("Latents, eval: ")
    assert "repeated frames" in result.stamps  # a narrow density there is worth any nats


def test_attributes_of_speakers_reach_manifest_frames_and_slices(speech, tmp_path):
    split = sides(speech, tmp_path)
    sexes = {one: "F" if one in (split.train[0], split.eval[0]) else "M" for one in split.train}
    sexes |= dict.fromkeys(split.eval, "F")
    rows = [f"{one}/{n}.wav,{one},{sex}" for one, sex in sexes.items() for n in range(3)]
    listed = tmp_path / "speakers.csv"
    listed.write_text("\n".join(["path,speaker,sex", *rows]), "utf-8")
    result, _ = run(
        speech, tmp_path, f"corpus.speakers_csv={listed}", "task.slices=[all, 'sex=F', 'sex=M']"
    )
    _, manifest = read_manifest(tmp_path / "run" / "manifest.parquet")
    assert {(one.speaker, one.attributes) for one in manifest} == {
        (speaker, (("sex", sex),)) for speaker, sex in sexes.items()
    }
    table = pq.read_table(tmp_path / "run" / "frames.parquet").to_pydict()
    assert table["attribute_sex"] == [sexes[one] for one in table["speaker"]]
    (horizon,) = result.horizons
    for sex in "FM":
        for side in ("train", "eval"):
            rows = zip(table["split"], table["attribute_sex"], table["nll"], strict=True)
            nll = [one for *where, one in rows if where == [side, sex]]
            figure = horizon.figure(side, f"sex={sex}", "nll")
            assert figure.n == len(nll)
            assert not nll or figure.value == pytest.approx(np.mean(nll))


def test_one_utterance_of_an_odd_rate_is_used_and_stamped(speech, tmp_path):
    file = speech / "speaker0" / "0.wav"
    samples, _ = soundfile.read(file)
    soundfile.write(file, samples, 44_099)
    result, _ = run(speech, tmp_path)
    assert not result.corpus.skipped
    assert "odd sample rates: 1" in result.stamps
