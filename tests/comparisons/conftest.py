"""Tiny comparisons: noise that swells and fades, log-mel at two hops, a few steps."""

import shutil

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.latents.manifest import ManifestRow
from latentbench.plugins import load_registry
from latentbench.results.finished import FinishedRun

RATE = 16_000
SMALL = (
    *("--preset", "phase1"),
    *("--set", "encoder.mels=4", "--set", "predictor.width=8", "--set", "training.batch_size=8"),
    *("--set", "utterances.min_seconds=0", "--set", "split.eval_fraction=0.25"),
    *("--set", "task.horizons_ms=[80, 160]", "--steps", "3", "--device", "cpu"),
)
TWO_HOPS = ("--encoder", "fine=logmel", "--encoder", "coarse=logmel")


def write_speech(folder, *, speakers=4, files=2, seconds=2.2, seed=0):
    rng = np.random.default_rng(seed)
    samples = int(seconds * RATE)
    for speaker in range(speakers):
        for number in range(files):
            file = folder / f"speaker{speaker}" / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, rng.normal(size=samples) * np.hanning(samples) * 0.1, RATE)
    return folder


@pytest.fixture(scope="session")
def registry():
    return load_registry()


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    return write_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture
def invoke():
    """Run `latentbench compare`; the result has exit_code, stdout and stderr."""

    def run(*arguments, before=(), **kwargs):
        words = [*before, "compare", *arguments]
        return CliRunner().invoke(main, [str(one) for one in words], **kwargs)

    return run


@pytest.fixture
def compare(invoke, speech, tmp_path):
    """Compare by running, on the tiny corpus, in `tmp_path`."""

    def run(*arguments, before=(), **kwargs):
        places = ("--out", tmp_path / "out", "--cache", tmp_path / "cache")
        folder = ("--corpus", "folder", "--set", f"corpus.root={speech}")
        corpus = () if "--corpus" in arguments else folder
        return invoke(*SMALL, *corpus, *places, *arguments, before=before, **kwargs)

    return run


@pytest.fixture(scope="session")
def finished(speech, tmp_path_factory):
    """The folder of a finished comparison: hops of 20 and 80 ms."""
    place = tmp_path_factory.mktemp("finished")
    arguments = (
        *("compare", *TWO_HOPS, "--set", "encoder.fine.hop_ms=20"),
        *("--corpus", "folder", "--set", f"corpus.root={speech}", *SMALL),
        *("--out", place / "out", "--cache", place / "cache"),
    )
    found = CliRunner().invoke(main, [str(one) for one in arguments])
    assert found.exit_code == 0, found.output
    return place / "out"


@pytest.fixture
def two_runs(finished, tmp_path):
    """Copies of both finished runs, which a test may change."""
    for name in ("fine", "coarse"):
        shutil.copytree(finished / f"{name}-mdn-folder", tmp_path / name)
    return tmp_path / "fine", tmp_path / "coarse"


@pytest.fixture
def make_run(make_result, tmp_path):
    """A run with the published numbers, and with what a test wants otherwise."""

    def make(label, *, utterances=3, audio="", rows=None, result=None, **changes):
        rows = rows or [
            ManifestRow(f"u{i}", f"s{i}", "eval" if i % 2 else "train", f"digest{i}", 4.0)
            for i in range(utterances)
        ]
        result = result or make_result(**changes)
        return FinishedRun(label, tmp_path / label, result, tuple(rows), audio)

    return make
