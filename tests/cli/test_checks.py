"""What is wrong with a run is told before anything is downloaded, made, encoded or trained."""

import json
import textwrap
from functools import partial

import pytest

from latentbench.checks import training_bytes
from latentbench.config import read_layers, resolve
from latentbench.corpora.librispeech import LibriSpeech
from latentbench.plugins import load_registry

WORLD = (
    *("--encoder", "latents", "--corpus", "world:ar1", "--device", "cpu", "--steps", "3"),
    *("--set", "corpus.speakers=4", "--set", "corpus.dim=4", "--set", "corpus.frames=40"),
    *("--set", "predictor.width=8", "--set", "utterances.min_seconds=0"),
)

BAD = """
from latentbench.corpora import Corpus
from latentbench.encoders import Encoder
from latentbench.hookspecs import hookimpl
from latentbench.metrics import Metric
from latentbench.metrics.columns import nll
from latentbench.metrics.statistics import Mean
from latentbench.specs import CorpusSpec, EncoderSpec, MetricSpec

@hookimpl
def latentbench_encoders():
    yield EncoderSpec(name="numbered", summary="-", factory=f"{__name__}:Numbered")

@hookimpl
def latentbench_metrics():
    yield MetricSpec(name="upwards", summary="-", factory=f"{__name__}:Upwards")
    yield MetricSpec(name="updated", summary="-", factory=f"{__name__}:Updated")

class Numbered(Encoder):
    sample_rate, hop, dim = 16_000, 1_280, 4
    def __init__(self, options, workspace): pass
    def load(self, device): pass
    def fingerprint(self): return {"version": 3}
    def encode(self, audio, lengths): raise RuntimeError("it was encoded")

class Upwards(Metric):
    name, better, columns, statistic = "upwards", "up", {"nll": nll}, Mean("nll")

class Updated(Metric):
    name, better, columns = "updated", "lower", {"nll": nll}
    def update(self, columns): pass
    def compute(self): return 0.0
"""


@pytest.fixture
def bad(invoke, tmp_path):
    """Run a command with components that break their contract."""
    file = tmp_path / "bad.py"
    file.write_text(textwrap.dedent(BAD))
    return partial(invoke, "--plugin", file)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slice", "loud"), "There is no slice called 'loud'."),
        (("--slice", "speaker:nobody"), "'speaker:nobody' names no speaker of this corpus."),
        (("--set", "evaluation.metrics=[nll, nope]"), "There is no metric called 'nope'."),
        (("--set", "evaluation.metrics=[nll, upwards]"), "'upwards' breaks its contract: better"),
        (("--set", "evaluation.metrics=[updated]"), "The metric 'updated' has no statistic"),
        (("--set", "engine=nowhere"), "There is no engine called 'nowhere'."),
        (("--device", "cuda:99"), "--device cuda:99: this machine shows"),
        (("--set", "task.context_frames=50"), "no eval utterance has the 54 frames"),
        (("--set", "predictor.log_sigma_min=3"), "predictor.log_sigma_min=3.0 is not below"),
        (("--set", "training.batch_size=2000000000"), "takes about"),
        (("--set", "training.shuffle_buffer=2147483647", "--set", "predictor.width=200000"), "GB"),
    ],
)
def test_a_mistake_is_told_before_the_first_network(bad, tmp_path, dry, arguments, message):
    out = tmp_path / "runs" / "out"
    cache = ("--cache", tmp_path / "cache")
    found = bad("run", *WORLD, *arguments, *cache, "--out", out, *dry)
    assert message in found.stderr
    assert (found.exit_code, found.stdout) == (2, "")
    assert "train k=" not in found.stderr
    assert "encoding" not in found.stderr
    assert not out.parent.exists(), "a failed start leaves no folder"


def test_a_context_beyond_memory_is_refused_by_its_size():
    registry = load_registry()

    def needed(*assignments):
        config = resolve(read_layers(None, None, assignments), registry)
        return training_bytes(config, registry, dim=512, frames=2048)

    # Weights, gradients and two moments of Phase 1's network: 13,650,952 numbers of 4 bytes.
    states = 4 * 4 * 13_650_952
    assert states < needed() < states + 10**9
    # Each frame of a batch holds its window at least twice.
    window = 2 * 4 * 8 * 512
    assert needed("training.batch_size=1000000") > states + window * 1_000_000
    assert needed("task.context_frames=1000000") > 2 * 4 * 256 * 1_000_000 * 512


def test_a_horizon_without_frames_is_said_and_the_others_are_planned(invoke, tmp_path):
    arguments = (*WORLD, "--horizons", "1,40", "--cache", tmp_path / "cache", "--dry-run")
    found = invoke("run", *arguments)
    assert found.exit_code == 0, found.stderr
    assert "k = 40: no eval utterance has the 48 frames" in found.stdout.replace("\n", " ")
    for how in (["--json"], ["--reporter", "json"]):
        assert json.loads(invoke("run", *arguments, *how).stdout)["encoder"] == "latents"


def test_a_fingerprint_that_is_no_text_is_told_before_encoding(bad, tmp_path):
    arguments = ("--encoder", "numbered", "--corpus", "white-noise", "--set", "corpus.seconds=2")
    few = ("--set", "corpus.speakers=2", "--set", "utterances.min_seconds=0")
    cache = ("--cache", tmp_path / "cache", "--out", tmp_path / "out")
    found = bad("run", *arguments, *few, *cache)
    assert "The fingerprint of the encoder 'numbered' says 'version': 3" in found.stderr
    assert (found.exit_code, found.stdout) == (2, "")
    assert not (tmp_path / "out").exists()


def test_a_corpus_that_cannot_be_listed_is_told_before_weights_are_fetched(
    invoke, tmp_path, monkeypatch
):
    def fetched(*_):
        pytest.fail("weights were fetched")

    monkeypatch.setattr("latentbench.encoders.weights.HubFile.fetch", fetched)
    found = invoke("run", "--corpus", "folder", "--cache", tmp_path, "--out", tmp_path / "out")
    assert "The corpus 'folder' needs to know the folder." in found.stderr
    assert found.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_dry_run_downloads_no_corpus(invoke, tmp_path, monkeypatch):
    def downloads(*_):
        pytest.fail("a corpus was downloaded")

    monkeypatch.setattr(LibriSpeech, "_download", downloads)
    small = ("--set", "predictor.width=8", "--set", "controls=[]", "--horizons", "1")
    found = invoke("run", *small, "--cache", tmp_path, "--dry-run", "--device", "cpu")
    assert found.exit_code == 0, found.stderr
    assert "the corpus is not here: a run downloads it first" in found.stdout.replace("\n", " ")
    refused = invoke("run", "--set", "corpus.subset=train-clean-10", "--dry-run")
    assert "Did you mean 'train-clean-100'?" in refused.stderr
    assert refused.exit_code == 2


def test_every_run_of_a_comparison_is_checked_before_the_first(invoke, tmp_path):
    corpora = ("--corpus", "one=world:ar1", "--corpus", "two=folder")
    found = invoke(
        *("compare", "--encoder", "latents", *corpora, "--cache", tmp_path),
        *("--set", f"corpus.root={tmp_path / 'nowhere'}", "--out", tmp_path / "out"),
    )
    assert found.exit_code == 2
    assert "two: " in found.stderr
    assert "train k=" not in found.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ("encoder: [logmel]", "'encoder' cannot be ['logmel']: expected a name, or a mapping"),
        ("corpus: 3", "'corpus' cannot be 3: expected a name, or a mapping"),
        ("predictor: {name: [mdn]}", "predictor.name"),
        ("training: [1]", "'training' cannot be [1]: expected a mapping of options."),
    ],
)
@pytest.mark.parametrize("verb", ["run", "compare"])
def test_a_section_that_is_no_mapping_is_named(invoke, tmp_path, verb, section, wanted):
    file = tmp_path / "settings.yaml"
    file.write_text(section)
    found = invoke(verb, "--config", file, "--dry-run", "--cache", tmp_path)
    assert found.exit_code == 2
    assert wanted in found.stderr
    assert "report it if it is a bug" not in found.stderr
