"""`engram` on a chain whose next state is told by two, and on Gaussian latents, where it is not."""

import re

import numpy as np
import pytest
import torch

from latentbench.comparisons import compare_runs
from latentbench.comparisons.combinations import Request, combine
from latentbench.config import TrainingConfig, read_layers, resolve
from latentbench.errors import UsageError
from latentbench.experiment import run_experiment
from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.predictors import Training
from latentbench.predictors.engram.memory import NGrams, NGramTables, primes_from
from latentbench.predictors.engram.options import CONTROLS, EngramOptions
from latentbench.predictors.engram.predictor import EngramPredictor
from latentbench.progress import SilentProgress
from latentbench.reports.comparison import comparison_report
from latentbench.reports.tables import Line
from latentbench.results.finished import FinishedRun
from latentbench.results.schema import ALONE
from latentbench.tasks import WindowTask
from latentbench.workspace import Workspace

W, DIM = 4, 3
TINY = {"head": "gaussian", "width": 16, "codes": 12, "hashes": 2, "rows": 256, "row_width": 8}


def frames_of(x):
    names = list(map(str, range(len(x))))
    arrays = dict(zip(names, x.astype(np.float32), strict=True))
    latents = Latents.from_arrays(arrays, {name: name for name in names})
    return WindowTask(W, 1, target="x", frame_set="own").frames(latents, range(len(x)))


def gaussian(seed, speakers=20, frames=200):
    random = np.random.default_rng(seed)
    x = random.normal(size=(speakers, frames, DIM))
    for t in range(1, frames):
        x[:, t] = 0.8 * x[:, t - 1] + 0.6 * x[:, t]
    return frames_of(x)


def second_order(seed, speakers=20, frames=200):
    """Twelve states; which follows is drawn at random once for each pair of states."""
    following = np.random.default_rng(5).integers(12, size=(12, 12))
    places = np.random.default_rng(6).normal(size=(12, DIM))
    random = np.random.default_rng(seed)
    state = random.integers(12, size=(speakers, frames))
    for t in range(2, frames):
        told = following[state[:, t - 1], state[:, t - 2]]
        state[:, t] = np.where(random.random(speakers) < 0.9, told, state[:, t])
    return frames_of(places[state] + 0.01 * random.normal(size=(speakers, frames, DIM)))


def fitted(frames, memory, steps, progress=None):
    torch.manual_seed(0)
    options = EngramOptions(**TINY, memory=memory)
    predictor = EngramPredictor(options, context_frames=W, dim=DIM)
    config = TrainingConfig(steps=steps, batch_size=128, learning_rate=3e-3)
    training = Training(config, 0, torch.device("cpu"), None, progress or SilentProgress())
    predictor.fit(frames, training)
    return predictor.eval()


def log_density(density, target):
    return density.log_prob(target).double()


def closeness(density, target):
    return -(density.mean - target).square().sum(-1)


def scores(predictor, frames, score):
    """The mean score of each speaker."""
    batch = frames.batch(np.arange(len(frames)))
    with torch.no_grad():
        found = score(predictor(batch.context), batch.target).numpy()
    return np.array([found[frames.utterance == one].mean() for one in np.unique(frames.utterance)])


def gain_over(control, make, score, steps):
    """What the tables gain over a control on new speakers, and its standard error."""
    train, new = make(1), make(2)
    gained = scores(fitted(train, "tables", steps), new, score)
    gained -= scores(fitted(train, control, steps), new, score)
    return gained.mean(), gained.std(ddof=1) / len(gained) ** 0.5


@pytest.mark.parametrize("control", ["zeroed", "shuffled"])
def test_where_two_codes_tell_the_next_the_tables_gain(control):
    gain, error = gain_over(control, second_order, closeness, 150)
    assert gain > 4.0 * error


def test_on_gaussian_latents_the_tables_gain_nothing_over_the_dense_control():
    gain, error = gain_over("dense", gaussian, log_density, 150)
    assert gain < 3.0 * error


def test_shuffled_rows_say_nothing_of_the_codes_and_are_the_same_in_every_batch():
    predictor = fitted(gaussian(1, 2, 50), "shuffled", 1)
    context = gaussian(3, 2, 50).batch(np.arange(20)).context
    together = predictor(context).mean
    alone = torch.cat([predictor(one[None]).mean for one in context])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    changed = context.clone()
    changed[:, -1] += 1e-4  # the same codes, other rows
    assert torch.equal(predictor._codes(context), predictor._codes(changed))
    assert (predictor(changed).mean - together).abs().max() > 1e-3


def test_the_dense_control_has_the_parameters_of_the_tables():
    made = {
        memory: EngramPredictor(EngramOptions(memory=memory), context_frames=8, dim=64)
        for memory in ("tables", "dense")
    }
    counts = {name: sum(p.numel() for p in one.parameters()) for name, one in made.items()}
    assert counts["dense"] == pytest.approx(counts["tables"], rel=1e-3)


def test_an_n_gram_is_the_codes_that_end_a_window_and_no_others():
    table = NGramTables(EngramOptions(**TINY), 3, after=255)
    codes = torch.tensor([[0, 1, 2, 3], [5, 1, 2, 3], [0, 1, 3, 2]])
    places = table.places(codes)
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])  # order counts
    assert (places < table.rows.num_embeddings).all()
    assert primes_from(64, 3) == [67, 71, 73]


def test_the_codes_of_an_n_gram_are_found_again():
    grams = NGrams(3, 12)
    codes = torch.cartesian_prod(*[torch.arange(12)] * 3)
    assert torch.equal(grams.codes_of(grams(codes)), codes)


@pytest.mark.parametrize("count", [1, 2, 100, 1_000, 20_000])
def test_collisions_are_those_of_balls_in_bins(count):
    options = EngramOptions(codes=1_000, hashes=32, rows=1_000)
    table = NGramTables(options, 2, after=999)
    chosen = np.random.default_rng(count).permutation(1_000**2)[:count]
    found = table.collisions(NGrams(2, 1_000).codes_of(torch.from_numpy(chosen)))
    alone = (1.0 - 1.0 / table.sizes.double()) ** (count - 1)
    # Balls that share a bin do so together: the number of those alone varies by at most twice
    # what independent ones would.
    error = float((2.0 * alone * (1.0 - alone) / count).sum().sqrt()) / len(alone)
    assert abs(found - float(1.0 - alone.mean())) <= 4.0 * error


def test_collisions_are_counted_in_each_table():
    table = NGramTables(EngramOptions(hashes=3, rows=8), 2, after=7)
    codes = torch.cartesian_prod(torch.arange(4), torch.arange(3))
    rows = [tuple(one) for one in table.places(codes).T.tolist()]
    shared = [sum(of_table.count(row) > 1 for row in of_table) for of_table in rows]
    assert table.collisions(codes) == pytest.approx(sum(shared) / (3 * 12))


def test_what_was_seen_is_said_after_training():
    progress = SilentProgress()
    fitted(second_order(1, 4, 60), "tables", 1, progress)
    assert re.search(
        r"training saw 100\.0 % of the 2-grams .* 100\.0 % of the 3-grams .*share a row",
        *progress.said,
    )
    assert "at most 7.5 nats" in progress.said[0]  # 3 ln 12


def test_a_context_of_one_frame_is_refused():
    with pytest.raises(UsageError, match="two frames that follow one another"):
        EngramPredictor(EngramOptions(), context_frames=1, dim=DIM)


def test_a_comparison_brings_the_controls():
    components = {"encoder": ["logmel"], "predictor": ["linear", "engram"]}
    request = Request(components, preset="demo", assignments=["predictor.engram.width=32"])
    runs = combine(request, load_registry())
    labels = [one.label for one in runs]
    assert labels == ["linear", "engram", *(f"engram-{name}" for name in CONTROLS)]
    made = [one.config.predictor.options for one in runs[1:]]
    assert [one.memory for one in made] == ["tables", *CONTROLS]
    assert {one.width for one in made} == {32}


def test_alone_it_is_compared_with_its_controls():
    request = Request({"encoder": ["logmel"], "predictor": ["engram"]}, preset="demo")
    labels = [one.label for one in combine(request, load_registry())]
    assert labels == ["engram", *(f"engram-{name}" for name in CONTROLS)]


def test_a_control_that_is_asked_for_brings_no_others():
    components = {"encoder": ["logmel"], "predictor": ["linear", "engram"]}
    request = Request(components, preset="demo", assignments=["predictor.engram.memory=dense"])
    assert [one.label for one in combine(request, load_registry())] == ["linear", "engram"]


def test_it_tells_hits_gate_and_ceiling_of_frames_and_its_controls_nothing():
    frames, others = second_order(0, frames=60), second_order(1, frames=60)
    found = fitted(frames, "tables", 5).facts(others)
    assert list(found) == [
        *("hits of 2-grams", "hits of 3-grams"),
        *("collisions of 2-grams", "collisions of 3-grams"),
        *("gate", "ceiling"),
    ]
    assert 0.5 < found["hits of 3-grams"] < found["hits of 2-grams"] <= 1.0
    assert 0.0 < found["gate"] < 1.0
    assert found["ceiling"] == pytest.approx(3 * np.log(12))
    assert fitted(frames, "tables", 5).facts(frames)["hits of 3-grams"] == 1.0
    for memory in CONTROLS:
        assert fitted(frames, memory, 1).facts(others) == {}


def test_a_run_alone_is_stamped_and_one_beside_its_controls_is_not(tmp_path):
    registry = load_registry()
    layers = [
        "encoder=latents", "corpus={name: 'world:ar1', dim: 3, speakers: 6, utterances: 2}",
        "predictor={name: engram, width: 8, codes: 4, rows: 16}", "utterances.min_seconds=0",
        "task.horizons=[1]", "training.steps=2", "controls=[]", "rollout.utterances=0",
        "task.slices=[all]", "device=cpu",
    ]  # fmt: skip
    runs = {}
    for memory in ("tables", "zeroed"):
        config = resolve(read_layers(None, None, [*layers, f"predictor.memory={memory}"]), registry)
        folder = tmp_path / memory
        run_experiment(config, folder, Workspace(tmp_path / "cache"), registry)
        runs[memory] = FinishedRun.read(folder, memory)
    alone, control = (one.result for one in runs.values())
    assert ALONE in alone.stamps
    assert ALONE not in control.stamps
    assert set(alone.horizons[0].facts) >= {"gate", "ceiling"}
    assert any(note.startswith("engram: hits of 2-grams") for note in alone.horizons[0].notes)
    together = compare_runs(list(runs.values()), registry=registry)
    below = [one.text for one in comparison_report(together) if isinstance(one, Line)]
    (told,) = [text for text in below if "collisions of 3-grams" in text]
    assert told.startswith("tables, ")
    assert not any(ALONE in one.stamps for one in together.runs)
    assert ALONE in compare_runs([runs["tables"]], registry=registry).runs[0].stamps


@pytest.mark.parametrize("memory", ["tables", "dense"])
def test_network_and_memory_see_the_same_noise(memory, monkeypatch):
    options = EngramOptions(**TINY, memory=memory, context_noise=1.0)
    predictor = EngramPredictor(options, context_frames=W, dim=DIM).train()
    drawn = []
    monkeypatch.setattr(predictor, "noisy", lambda scaled: drawn.append(scaled) or scaled)
    predictor(torch.zeros(2, W, DIM))
    assert len(drawn) == 1
