"""The whole road on real files: what a run leaves behind, and that it can be killed anywhere."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from latentbench.cells import make_predictor
from latentbench.config import read_layers, resolve
from latentbench.errors import UsageError
from latentbench.experiment import encode_corpus, run_experiment
from latentbench.files import write_text
from latentbench.fits import window_task
from latentbench.latents import Latents
from latentbench.latents.manifest import open_latents, read_manifest
from latentbench.latents.store import LatentStore
from latentbench.latents.transform import restore_transforms
from latentbench.planning import plan_experiment
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.results.folder import RunFolder
from latentbench.results.standing import withheld
from latentbench.workspace import Workspace

RATE = 16_000
HEADER = (
    "horizon_k,slice,train_nll,train_nll_baseline,train_dnll,eval_nll,eval_nll_baseline,"
    "eval_dnll,eval_direction_cos,eval_logmag_r2,rollout_gap_nll,rollout_gap_dnll"
)
HOP = RATE * 80 // 1000


class EndsAt(SilentProgress):
    """Ends the process, or interrupts it, when a task of that title is under way."""

    def __init__(self, title, number, after=0):
        super().__init__()
        self.title, self.number, self.after = title, number, after

    @contextmanager
    def task(self, title, total, unit, done=0.0):
        del total, unit, done
        meets = title.startswith(self.title)
        yield _EndsAfter(self.number, self.after) if meets else _EndsAfter(0, 0)


class _EndsAfter:
    def __init__(self, number, after):
        self.number, self.left = number, after

    def advance(self, amount=1.0):
        del amount
        self.left -= 1
        if self.number and self.left < 0:
            os.kill(os.getpid(), self.number)

    def note(self, text):
        pass


def write_speech(folder, *, speakers=4, files=3, seconds=2.5):
    """Noise that swells and fades, a speaker a folder."""
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for number in range(files):
            samples = rng.normal(size=int(seconds * RATE)) * np.hanning(int(seconds * RATE)) * 0.1
            file = folder / f"speaker{speaker}" / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, samples, RATE)
    return folder


def configure(root, *assignments):
    small = (
        f"corpus={{name: folder, root: '{root}'}}",
        "encoder={name: logmel, mels: 8}",
        "utterances.min_seconds=0",
        "predictor.width=16",
        "training.steps=30",
        "training.batch_size=16",
        "task.horizons=[1, 2]",
        "split.eval_fraction=0.25",
        "device=cpu",
    )
    return resolve(read_layers(None, None, (*small, *assignments)), load_registry())


def run(config, tmp_path, name="run", progress=None):
    progress = progress or SilentProgress()
    workspace = Workspace(tmp_path / "cache", progress)
    return run_experiment(config, tmp_path / name, workspace, load_registry())


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def undisturbed(speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(configure(speech), folder)
    return folder / "run"


def numbers_of(folder):
    """Everything a run computed, to the bit."""
    frames = pq.read_table(folder / "frames.parquet").to_pydict()
    rollout = pq.read_table(folder / "rollout.parquet").to_pydict()
    return frames, rollout, (folder / "horizons.csv").read_text()


def test_a_run_leaves_the_files_its_documentation_names(speech, tmp_path):
    result = run(configure(speech), tmp_path)
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert {
        "config.yaml",
        "result.json",
        "figures.csv",
        "horizons.csv",
        "frames.parquet",
        "rollout.parquet",
        "manifest.parquet",
        "model-k1.safetensors",
        "model-k2.safetensors",
    } <= names
    with (tmp_path / "run" / "horizons.csv").open() as stream:
        assert stream.readline().strip() == HEADER
        rows = list(csv.reader(stream))
    assert [(row[0], row[1]) for row in rows] == [
        (k, name) for k in "12" for name in ("all", "high_energy", "utterance_medial")
    ]
    frames_per_utterance = int(2.5 * RATE) // HOP + 1
    assert result.horizons[0].frames == {
        "train": 9 * (frames_per_utterance - 11),
        "eval": 3 * (frames_per_utterance - 11),
    }


def test_the_baseline_is_a_diagonal_gaussian_of_the_train_deltas(speech, tmp_path):
    result = run(configure(speech), tmp_path)
    store, rows = read_manifest(tmp_path / "run" / "manifest.parquet")
    latents, sides = open_latents(LatentStore.at(tmp_path / "cache" / "latents" / store), rows)

    def deltas(side):
        found = [
            np.diff(latents.utterance(u).numpy().astype(np.float64), axis=0) for u in sides[side]
        ]
        return np.concatenate([one[10:] for one in found])  # t >= 11: deltas are numbered from 1

    mean, variance = deltas("train").mean(0), deltas("train").var(0, ddof=1)
    for side in ("train", "eval"):
        squares = (deltas(side) - mean) ** 2 / variance
        expected = 0.5 * (squares + np.log(2 * np.pi * variance)).sum(1).mean()
        figure = result.horizons[0].figure(side, "all", "nll_baseline")
        assert figure.value == pytest.approx(expected, rel=1e-6)
        nll = result.horizons[0].figure(side, "all", "nll").value
        dnll = result.horizons[0].figure(side, "all", "dnll").value
        assert dnll == pytest.approx(nll - expected, rel=1e-6, abs=1e-6)


def test_a_slice_alone_is_fitted_and_scored_alone(speech, tmp_path):
    """The original's --slice refitted the baseline on the slice; a mask of one model does not."""
    result = run(configure(speech, "task.only=high_energy", "task.horizons=[1]"), tmp_path)
    store, rows = read_manifest(tmp_path / "run" / "manifest.parquet")
    latents, sides = open_latents(LatentStore.at(tmp_path / "cache" / "latents" / store), rows)
    energy = {
        u: latents.energy[latents.utterances[u].start :][: latents.utterances[u].frames]
        for side in sides.values()
        for u in side
    }
    median = np.median(np.concatenate([energy[u] for u in sides["train"]]))
    loud = {
        side: np.array(
            [
                latents.utterance(u).numpy()[t] - latents.utterance(u).numpy()[t - 1]
                for u in sides[side]
                for t in range(11, len(energy[u]))
                if energy[u][t] > median
            ],
            np.float64,
        )
        for side in ("train", "eval")
    }
    mean, variance = loud["train"].mean(0), loud["train"].var(0, ddof=1)
    for side, deltas in loud.items():
        expected = 0.5 * ((deltas - mean) ** 2 / variance + np.log(2 * np.pi * variance)).sum(1)
        for name in ("all", "high_energy"):
            figure = result.horizons[0].figure(side, name, "nll_baseline")
            assert figure.n == len(deltas) > 0
            assert figure.value == pytest.approx(expected.mean(), rel=1e-6)
    assert result.horizons[0].too_short == {"train": 0, "eval": 0}
    assert result.stamps == ("only high_energy frames",)


def test_seeds_roll_out_the_same_utterances_and_have_an_interval(speech, tmp_path):
    config = configure(
        speech,
        "seeds=[1, 2]",
        "task.horizons=[1]",
        "rollout.utterances=4",
        "split.eval_fraction=0.5",
    )
    result = run(config, tmp_path)
    table = pq.read_table(tmp_path / "run" / "rollout.parquet").to_pydict()
    drawn = {
        seed: [u for u, of in zip(table["utterance"], table["seed"], strict=True) if of == seed]
        for seed in (1, 2)
    }
    assert drawn[1] == drawn[2] != []
    rollout = result.horizons[0].rollout
    assert (rollout.utterances, rollout.n) == (len(set(drawn[1])), 2 * len(drawn[1]))
    assert rollout.speakers == 2
    assert rollout.mean_interval.low < rollout.mean_gap < rollout.mean_interval.high


def test_one_voice_is_split_by_file_and_stamped(tmp_path):
    one_voice = write_speech(tmp_path / "speech", speakers=1, files=12, seconds=1.0)
    with pytest.raises(UsageError, match="at least two") as error:
        run(configure(one_voice), tmp_path)
    assert "split.by=file" in error.value.hint
    result = run(configure(one_voice, "split.by=file"), tmp_path, "by_file")
    sides = result.corpus.speakers
    assert (len(sides["train"]), len(sides["eval"])) == (9, 3)
    assert not set(sides["train"]) & set(sides["eval"])
    assert "same speakers" in result.stamps
    assert result.horizons[0].figure("eval", "all", "dnll").speakers == 3
    assert "3 eval files, at least 4 are needed" in withheld(result, result.horizons[0])


def test_the_speakers_of_the_two_sides_are_disjoint(speech, tmp_path):
    run(configure(speech), tmp_path)
    table = pq.read_table(tmp_path / "run" / "frames.parquet")
    sides = set(zip(table["split"].to_pylist(), table["speaker"].to_pylist(), strict=True))
    assert len(sides) == 4
    assert len({speaker for _, speaker in sides}) == 4


def test_a_finished_run_is_read_not_computed(speech, tmp_path):
    config = configure(speech)
    first = run(config, tmp_path)
    progress = SilentProgress()
    again = run(config, tmp_path, progress=progress)
    assert again.to_json() == first.to_json()  # nan is not equal to itself
    assert any("is finished" in text for text in progress.said)


def test_a_run_that_another_process_ends_while_it_is_opened_is_read(speech, tmp_path, monkeypatch):
    config, looked = configure(speech), []
    first = run(config, tmp_path)

    def not_yet(folder, config):
        looked.append(folder)
        return sooner(folder, config) if len(looked) > 1 else None

    sooner = RunFolder.finished
    monkeypatch.setattr(RunFolder, "finished", not_yet)
    monkeypatch.setattr("latentbench.experiment.encode_corpus", None)
    assert run(config, tmp_path).to_json() == first.to_json()
    assert len(looked) == 2


def test_the_store_is_shared_by_runs_that_differ_only_in_training(speech, tmp_path):
    run(configure(speech), tmp_path)
    workspace = Workspace(tmp_path / "cache")
    encoded = encode_corpus(configure(speech, "training.steps=10"), workspace, load_registry())
    assert encoded.fresh == 0


PHASES = {
    "encoding": ("encoding", 0),
    "training": ("train k=2", 10),
    "scoring": ("k = 1: scoring eval", 0),
    "rollout": ("k = 2: rollout", 1),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_continues_to_the_same_numbers(speech, undisturbed, tmp_path, phase):
    title, after = PHASES[phase]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_experiment as t, pathlib; "
        f"t.run(t.configure(sys.argv[2]), pathlib.Path(sys.argv[3]), 'run', "
        f"t.EndsAt({title!r}, {int(signal.SIGKILL)}, {after}))"
    )
    here = str(Path(__file__).parent)
    killed = subprocess.run(
        [sys.executable, "-c", script, here, str(speech), str(tmp_path)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "result.json").exists()
    run(configure(speech), tmp_path)
    assert numbers_of(tmp_path / "run") == numbers_of(undisturbed)


@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupted_run_continues_to_the_same_numbers(speech, undisturbed, tmp_path, phase):
    title, after = PHASES[phase]
    with pytest.raises(KeyboardInterrupt):
        run(configure(speech), tmp_path, progress=EndsAt(title, signal.SIGINT, after))
    run(configure(speech), tmp_path)
    assert numbers_of(tmp_path / "run") == numbers_of(undisturbed)


def test_an_interrupted_training_continues_at_the_step_it_was(speech, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(configure(speech), tmp_path, progress=EndsAt("train k=2", signal.SIGINT, 10))

    class Notes(SilentProgress):
        def task(self, title, total, unit, done=0.0):
            self.said.append(f"{title} from {done:g}")
            return super().task(title, total, unit, done)

    progress = Notes()
    run(configure(speech), tmp_path, progress=progress)
    assert "train k=2 from 11" in progress.said
    assert not any(text.startswith("train k=1") for text in progress.said)
    assert not list((tmp_path / "run").rglob("*.checkpoint"))


class Titles(SilentProgress):
    """Remembers the title of every task."""

    def task(self, title, total, unit, done=0.0):
        self.said.append(title)
        return super().task(title, total, unit, done)


def models_of(file, role):
    return {name: one for name, one in load_file(file).items() if name.startswith(f"{role}.")}


def test_horizons_that_train_on_the_same_frames_share_their_unconditional_model(speech, tmp_path):
    together, alone = Titles(), Titles()
    run(configure(speech), tmp_path, "together", together)
    run(configure(speech, "task.horizons=[2]"), tmp_path, "alone", alone)
    blind = [title for title in together.said if "unconditional" in title]
    assert blind == ["train k=1 (unconditional)"], together.said
    assert "train k=2 (unconditional)" in alone.said
    shared, fitted = (
        models_of(tmp_path / name / "model-k2.safetensors", "unconditional")
        for name in ("together", "alone")
    )
    assert shared.keys() == fitted.keys() != set()
    assert all(torch.equal(shared[name], fitted[name]) for name in shared)


def test_horizons_that_train_on_other_frames_do_not(speech, tmp_path):
    progress = Titles()
    run(configure(speech, "task.frame_set=own"), tmp_path, progress=progress)
    blind = [title for title in progress.said if "unconditional" in title]
    assert blind == [f"train k={k} (unconditional)" for k in (1, 2)]


def test_a_folder_of_another_configuration_is_refused(speech, tmp_path):
    run(configure(speech), tmp_path)
    with pytest.raises(UsageError, match=r"training.steps is 30 there, 31 here.*\n.*--out"):
        run(configure(speech, "training.steps=31"), tmp_path)


def test_a_run_whose_audio_changed_since_is_not_continued(tmp_path):
    root = write_speech(tmp_path / "speech")
    with pytest.raises(KeyboardInterrupt):
        run(configure(root), tmp_path, progress=EndsAt("train k=2", signal.SIGINT, 3))
    soundfile.write(root / "speaker1" / "1.wav", np.zeros(RATE), RATE)
    with pytest.raises(
        UsageError, match=r"begun with other audio: 1 utterances.*speaker1/1.wav.*\n.*--out"
    ):
        run(configure(root), tmp_path)


def test_bad_audio_is_skipped_counted_and_named_and_silence_is_kept(tmp_path):
    root = write_speech(tmp_path / "speech")
    bad = root / "speaker0"
    (bad / "corrupt.wav").write_bytes(b"RIFF no sound")
    (bad / "empty.wav").write_bytes(b"")
    soundfile.write(bad / "nothing.wav", np.zeros((0, 1)), RATE)
    soundfile.write(bad / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(bad / "eight.wav", np.zeros((RATE, 8)), RATE)
    soundfile.write(bad / "silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(
        bad / "stereo.wav", np.random.default_rng(1).normal(size=(2 * RATE, 2)) * 0.1, RATE
    )
    result = run(configure(root), tmp_path)
    skipped = {Path(one.utterance).stem: one.reason for one in result.corpus.skipped}
    assert set(skipped) == {"corrupt", "empty", "nothing", "nan", "eight"}
    assert skipped["nan"] == "not finite"
    assert "8 channels" in skipped["eight"]
    assert sum(result.corpus.utterances.values()) == 12 + 2


def test_utterances_shorter_than_the_window_count_as_n(tmp_path):
    root = write_speech(tmp_path / "speech", seconds=0.97)
    result = run(configure(root, "task.horizons=[1, 4, 8]"), tmp_path)
    by_horizon = {one.k: one for one in result.horizons}
    assert by_horizon[1].frames == {"train": 9 * 2, "eval": 3 * 2}
    assert by_horizon[8].frames == {"train": 0, "eval": 0}
    assert by_horizon[8].too_short == {"train": 9, "eval": 3}
    assert by_horizon[8].status == "done"
    assert any("too short" in note for note in by_horizon[8].notes)
    rows = (tmp_path / "run" / "horizons.csv").read_text().splitlines()
    assert "8,all,,,,,,,,,," in rows


MOODY = """
import errno, torch
from latentbench.errors import LatentbenchError
from latentbench.hookspecs import hookimpl
from latentbench.specs import PredictorSpec

@hookimpl
def latentbench_predictors():
    yield PredictorSpec(name="moody", summary="fails at k = 2", factory=f"{__name__}:make")

def make(options, context_frames, dim):
    from latentbench.predictors.marginal import Marginal
    from latentbench.predictors.plugin import MarginalOptions
    class Moody(Marginal):
        def fit(self, train, training):
            if train.horizon == 2:
                raise ERROR
            super().fit(train, training)
    return Moody(MarginalOptions(), context_frames=context_frames, dim=dim)
"""


def run_moody(speech, tmp_path, error):
    plugin = tmp_path / "moody.py"
    plugin.write_text(MOODY.replace("ERROR", error))
    registry = load_registry([plugin])
    small = configure(speech).model_dump(mode="json") | {"predictor": {"name": "moody"}}
    config = resolve(small | {"task": small["task"] | {"horizons": [1, 2, 4]}}, registry)
    workspace = Workspace(tmp_path / "cache")
    return run_experiment(config, tmp_path / "run", workspace, registry)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("LatentbenchError('not at this horizon')", "not at this horizon"),
        ("RuntimeError('a plugin\\nbroke')", "RuntimeError: a plugin\nThe traceback is in "),
        (
            "torch.OutOfMemoryError('CUDA out of memory')",
            "CUDA out of memory\nLower training.batch",
        ),
        ("MemoryError()", "MemoryError\nLower training.batch_size"),
        ("KeyError('x')", "KeyError: 'x'\nThe traceback is in "),
    ],
)
def test_a_cell_that_fails_is_shown_and_the_others_are_done(speech, tmp_path, error, told):
    result = run_moody(speech, tmp_path, error)
    assert [one.status for one in result.horizons] == ["done", "failed", "done"]
    assert told in result.horizons[1].errors[0]
    assert result.horizons[2].figure("eval", "all", "dnll").value == pytest.approx(0, abs=1e-5)
    trace = tmp_path / "run" / "cells" / "k2-seed42" / "traceback.txt"
    assert trace.exists() == ("traceback" in told or "Lower" in told)
    if trace.exists():
        assert "raise" in trace.read_text()


def test_a_cell_whose_failure_cannot_be_written_does_not_end_the_others(
    speech, tmp_path, monkeypatch
):
    def full(path, text):
        if path.parent.name == "k2-seed42":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_text(path, text)

    monkeypatch.setattr("latentbench.cells.write_text", full)
    result = run_moody(speech, tmp_path, "OSError(errno.ENOSPC, 'No space left on device')")
    assert [one.status for one in result.horizons] == ["done", "failed", "done"]


def test_predictions_do_not_see_past_their_context(speech, tmp_path):
    """Changing frames after t - k moves no prediction of the trained model."""
    run(configure(speech), tmp_path)
    config = configure(speech)
    weights = load_file(tmp_path / "run" / "model-k2.safetensors")
    predictor = make_predictor("predictor", config, load_registry(), dim=8, seed=0).eval()
    state = {
        n.removeprefix("predictor."): w for n, w in weights.items() if n.startswith("predictor.")
    }
    predictor.load_state_dict(state)
    frames = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    changed = frames.copy()
    changed[14:] += 100
    means = []
    for array in (frames, changed):
        task = window_task(config, 2).frames(Latents.from_arrays({"u": array}, {"u": "s"}), [0])
        (which,) = np.nonzero(task.t == 15)
        means.append(predictor(task.batch(which).context).mean)
    assert torch.equal(*means)


def test_a_dry_run_counts_what_the_run_then_uses(speech, tmp_path):
    config = configure(speech)
    plan = plan_experiment(config, Workspace(tmp_path / "cache"), load_registry())
    assert not (tmp_path / "cache" / "latents").exists()
    result = run(config, tmp_path)
    assert plan.frames == {one.k: one.frames for one in result.horizons}
    assert plan.utterances == result.corpus.utterances
    assert plan.parameters == result.horizons[0].parameters
    assert plan.stored_utterances == 0
    again = plan_experiment(config, Workspace(tmp_path / "cache"), load_registry())
    assert again.stored_utterances == 12


def test_too_little_audio_for_a_side_is_an_error_that_says_so(speech, tmp_path):
    with pytest.raises(UsageError, match=r"0 of 12 utterances can be used.*shorter than 60 s"):
        run(configure(speech, "utterances.min_seconds=60"), tmp_path)


def test_a_limit_keeps_both_sides(speech, tmp_path):
    result = run(configure(speech, "utterances.limit=4"), tmp_path)
    assert result.corpus.utterances == {"train": 3, "eval": 1}
    assert "limited to 4 utterances" in result.stamps


def test_transforms_are_fitted_on_train_and_saved_with_the_run(speech, tmp_path):
    config = configure(speech, "transforms=[standardize, 'pca:4']")
    result = run(config, tmp_path)
    names = {file.name for file in (tmp_path / "run").glob("transform-*")}
    assert names == {"transform-0-standardize.safetensors", "transform-1-pca.safetensors"}
    weights = load_file(tmp_path / "run" / "model-k1.safetensors")
    assert weights["predictor.means.weight"].shape[0] == 8 * 4
    pca = {"name": "pca", "components": 4, "whiten": False, "keep": 1e-6}
    assert result.config["transforms"][1] == pca
    store, rows = read_manifest(tmp_path / "run" / "manifest.parquet")
    stored, sides = open_latents(LatentStore.at(tmp_path / "cache" / "latents" / store), rows)
    seen = restore_transforms(
        stored, config, load_registry(), sorted((tmp_path / "run").glob("t*"))
    )

    def moments(used):
        every = np.concatenate([seen.utterance(u).numpy().astype(np.float64) for u in used])
        return every.mean(0), np.cov(every.T)

    mean, covariance = moments(sides["train"])
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    assert abs(moments([*sides["train"], *sides["eval"]])[0]).max() > 1e-3  # or nothing is shown


def test_a_task_in_milliseconds_is_the_task_in_frames(speech, tmp_path):
    frames = run(configure(speech), tmp_path, "frames")
    config = configure(speech, "task.context_ms=640", "task.horizons_ms=[80, 160]")
    time = run(config, tmp_path, "time")
    for one, other in zip(frames.horizons, time.horizons, strict=True):
        assert one.figures == other.figures
        assert one.milliseconds == other.milliseconds


def test_a_delta_over_a_longer_step_starts_when_it_can(speech, tmp_path):
    result = run(configure(speech, "task.step_ms=1200"), tmp_path)
    frames_per_utterance = int(2.5 * RATE) // HOP + 1
    assert result.horizons[0].frames["eval"] == 3 * (frames_per_utterance - 15)
