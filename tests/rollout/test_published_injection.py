"""The published protocol: which segments, which conditions, and figures by hand."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.distributions import Independent, Normal

import latentbench as lb
from latentbench.cli import main
from latentbench.errors import LatentbenchError, UsageError
from latentbench.latents import Latents
from latentbench.predictors import Predictor
from latentbench.progress import SILENT
from latentbench.rollout.engine import Injection, rollout, rollout_frames
from latentbench.rollout.injection import CONDITIONS, injected_rollouts, segments_of

A, DIM = 0.7, 4
CPU = torch.device("cpu")


class Exact(Predictor):
    """The conditional of an AR(1) of unit variance."""

    def __init__(self):
        super().__init__(context_frames=1, dim=DIM)

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        return Independent(Normal(A * context[:, -1], math.sqrt(1 - A**2)), 1)


def chosen(lengths):
    rng = np.random.default_rng(0)
    named = {}
    for number, length in enumerate(lengths):
        x = [rng.standard_normal(DIM)]
        for _ in range(length - 1):
            x.append(A * x[-1] + math.sqrt(1 - A**2) * rng.standard_normal(DIM))
        named[str(number)] = np.float32(x)
    latents = Latents.from_arrays(named, {name: name for name in named})
    return rollout_frames(
        latents, range(len(lengths)), context_frames=1, horizon=1, target="x",
        count=len(lengths), max_frames=10**6,
    )  # fmt: skip


def test_segments_lie_evenly_and_begin_with_true_frames():
    frames = chosen([41, 10, 17])
    cut = segments_of(frames, 5, 16)
    rows = cut.rows.reshape(-1, 16)
    assert len(rows) == 2 * 5  # one utterance is too short
    assert (np.diff(rows, axis=1) == 1).all()
    start = frames.latents.utterances[0].start
    long = rows[(rows[:, 0] >= start) & (rows[:, -1] < start + 41), 0] - start
    assert long.tolist() == [1, 7, 13, 19, 25]
    assert cut.t.reshape(-1, 16).tolist() == [list(range(1, 17))] * 10
    before = frames.latents.gather(rows[:1, 0] - 1)
    assert torch.equal(cut.batch(np.arange(1)).context[:, 0], before)


def test_errors_of_the_exact_mean_are_those_of_their_closed_form():
    # Step s without injection has the error 1 - a^2s per dimension; one true frame starts it anew.
    cut = segments_of(chosen([200] * 40), 8, 16)
    ages = {
        "A": [1] * 16,
        "B": [1, 2, 3, 4] * 4,
        "C": [1, *range(1, 16)],
        "D": list(range(1, 17)),
    }
    for condition, inject in CONDITIONS.items():
        found = rollout(
            Exact(), Exact(), cut, batch_size=512, device=CPU, inject=Injection.parse(inject),
            centre=torch.zeros(DIM),
        )  # fmt: skip
        by_step = np.square(found["state_error"]).reshape(-1, 16)
        expected = DIM * (1 - A ** (2 * np.array(ages[condition])))
        error = by_step.std(0) / math.sqrt(len(by_step))
        assert (np.abs(by_step.mean(0) - expected) < 5 * error).all(), condition


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("injected")
    lb.run(
        encoder="latents", corpus="world:ar1", predictor="linear", preset="demo",
        out=root / "run", cache=root / "cache", progress=False, set=["task.horizons=[1,2]"],
    )  # fmt: skip
    return root


def test_a_command_shows_the_four_conditions(folder):
    common = ["rollout", str(folder / "run"), "--cache", str(folder / "cache")]
    ended = CliRunner().invoke(main, [*common, "--inject", "published", "--horizon", "1"])
    assert ended.exit_code == 0, ended.stderr
    assert "8 segments each, 16 steps, by mean" in ended.stdout
    assert "k = 1: A: done, " in ended.stderr
    assert "done, 0 frames" not in ended.stderr
    ended = CliRunner().invoke(main, [*common, "--inject", "published", "--json"])
    found = json.loads(ended.stdout)
    assert [(one["k"], one["condition"]) for one in found["rows"]] == [
        (k, condition) for k in (1, 2) for condition in "ABCD"
    ]
    errors = {one["condition"]: one["state_error"] for one in found["rows"] if one["k"] == 1}
    assert errors["A"] < errors["B"] < errors["C"] < errors["D"]
    assert all(one["n"] == found["utterances"] * 8 * 16 for one in found["rows"])


def test_a_horizon_that_the_run_does_not_have_is_refused_beside_others_too(folder):
    run = lb.read(folder / "run", cache=folder / "cache")
    for asked in ((3,), (1, 3)):
        with pytest.raises(UsageError, match=r"no horizon k = 3.\nIt has: 1, 2."):
            run.injection(horizons=asked)


def test_a_run_whose_cells_all_failed_is_told_so(folder):
    run = lb.read(folder / "run", cache=folder / "cache")
    failed = tuple(one.model_copy(update={"seeds": ()}) for one in run.record.horizons)
    opened = run._opened("")
    opened.result = opened.result.model_copy(update={"horizons": failed})
    with pytest.raises(LatentbenchError, match="no model to roll out: k=1: no finished cell; k=2"):
        injected_rollouts(opened, (), "mean", SILENT)
    with pytest.raises(UsageError, match="no finished cell at k = 1"):
        opened.require(1, 42)


def test_utterances_that_are_too_short_are_told(folder):
    opened = lb.read(folder / "run", cache=folder / "cache")._opened("")
    short = opened.config.rollout.model_copy(update={"max_frames": 12})
    opened.config = opened.config.model_copy(update={"rollout": short})
    with pytest.raises(LatentbenchError, match="has 16 frames to roll out"):
        injected_rollouts(opened, (), "mean", SILENT)


@pytest.mark.parametrize(
    "asked", [["--depths", "1,2"], ["--target", "x"], ["--full"], ["--utterances", "8"]]
)
def test_what_the_published_protocol_decides_is_not_asked_for_in_vain(folder, asked):
    common = ["rollout", str(folder / "run"), "--cache", str(folder / "cache")]
    ended = CliRunner().invoke(main, [*common, "--inject", "published", *asked])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"{asked[0]} would change nothing" in ended.stderr
