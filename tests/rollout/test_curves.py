"""Finished runs, rolled out again: the run's own numbers, its controls, and what is refused."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.config import read_layers, resolve
from latentbench.errors import LatentbenchError, UsageError
from latentbench.experiment import run_experiment
from latentbench.files import discard
from latentbench.opened import OpenedRun
from latentbench.plugins import load_registry
from latentbench.progress import SILENT
from latentbench.rollout.curves import Rolling, rollout_curves
from latentbench.rollout.engine import Injection
from latentbench.rollout.injection import injected_rollouts
from latentbench.workspace import Workspace

DIM, W = 3, 4
SMALL = (
    "encoder=latents",
    "corpus={name: 'world:ar1', dim: 3, speakers: 6, utterances: 3, frames: 60}",
    "predictor={name: linear}",
    "utterances.min_seconds=0",
    "split.eval_fraction=0.5",
    "task.context_frames=4",
    "task.horizons=[1, 2]",
    "task.slices=[all]",
    "device=cpu",
)


def made(folder, *assignments):
    registry = load_registry()
    config = resolve(read_layers(None, None, (*SMALL, *assignments)), registry)
    run_experiment(config, folder / "run", Workspace(folder / "cache"), registry)
    return folder


def opened(folder):
    return OpenedRun(folder / "run", Workspace(folder / "cache"), load_registry())


def curves_of(folder, **rolling):
    return rollout_curves(opened(folder), Rolling(**rolling), SILENT)


def curve(found, k, target):
    (one,) = [curve for curve in found.curves if (curve.k, curve.target) == (k, target)]
    return one


@pytest.fixture
def invoke():
    """Run a command; the result has exit_code, stdout and stderr."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(one) for one in arguments])

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def standardized(tmp_path_factory):
    """Latents behind transforms, two seeds."""
    folder = tmp_path_factory.mktemp("standardized")
    return made(folder, "transforms=[standardize, 'pca:2']", "seeds=[7, 8]", "controls=[]")


def of_the_run(folder, k):
    table = pq.read_table(folder / "run" / "rollout.parquet", filters=[("horizon", "=", k)])
    names = ("depth", "nll_teacher", "nll_rollout")
    depth, teacher, rolled = (table[name].to_numpy() for name in names)
    return depth, teacher, rolled - teacher


@pytest.mark.parametrize("which", ["finished", "standardized"])
def test_with_the_defaults_the_gaps_are_those_of_the_run(which, request):
    folder = request.getfixturevalue(which)
    found = curves_of(folder, target="delta", depths=(-1, 0, 1, 5, 30, 500))
    for k in (1, 2):
        (depth, teacher, gap), one = of_the_run(folder, k), curve(found, k, "delta")
        assert (one.n, one.deepest) == (len(depth), depth.max())
        for point in one.points:
            here = depth == point.depth
            assert point.n == here.sum()
            if point.n:
                assert point.gap_median == pytest.approx(np.median(gap[here]), abs=1e-6)
                assert point.gap_mean == pytest.approx(gap[here].mean(), abs=1e-6)
                assert point.nll_teacher == pytest.approx(np.median(teacher[here]), abs=1e-6)
            else:
                assert np.isnan([point.gap_median, point.cosine, point.variance_ratio]).all()
        assert [point.n > 0 for point in one.points] == [k == 2, True, True, True, True, False]


def test_depths_are_powers_of_two_as_deep_as_there_are_frames(finished):
    one = curve(curves_of(finished, horizons=(2,)), 2, "delta")
    assert one.deepest == 60 - 1 - (W - 1 + 2) - 2 + 1
    assert [point.depth for point in one.points] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("mode", ["mean", "sample"])
def test_it_is_stable_up_to_the_last_depth_before_it_leaves_half_to_twice(finished, mode):
    for one in curves_of(finished, mode=mode).curves:
        frame = one.milliseconds / one.k
        fates = [
            (point.depth, 0.5 <= min(figures) <= max(figures) <= 2.0)
            for point in one.points
            if point.n
            for figures in [(point.magnitude_ratio, point.variance_ratio)]
        ]
        alive = [fate for _, fate in fates]
        count = alive.index(False) if False in alive else len(alive)
        last = fates[count - 1][0] if count else 0
        assert one.stable_milliseconds == pytest.approx(last * frame)
        assert one.dead_at == (fates[count][0] if count < len(fates) else None)


def test_a_teacher_leaves_no_gap(finished):
    for one in curves_of(finished, inject=Injection("teacher")).curves:
        assert {point.gap_mean for point in one.points} == {0.0}


def test_the_control_is_the_model_of_x_that_the_run_fitted(finished):
    """Predicted frame by frame in a plain loop, with the weights the run saved."""
    run = opened(finished)
    one = curve(curves_of(finished, target="x", horizons=(2,), depths=(3, 9)), 2, "x")
    model = run.model(2, 42, "x_target")
    train = np.concatenate([run.latents.utterance(u).numpy()[1:] for u in run.sides["train"]])
    train = train.astype(np.float64)
    errors = {3: [], 9: []}
    for u in run.sides["eval"]:
        true = run.latents.utterance(u)
        own = true.clone()
        for t in range(W - 1 + 2, 20):
            own[t] = model(own[None, t - 2 - W + 1 : t - 1]).mean[0]
            depth = t - (W - 1 + 2) - 2 + 1
            if depth in errors:
                errors[depth].append(torch.linalg.vector_norm(own[t] - true[t]).item())
    assert one.utterances == len(run.sides["eval"]) == 9
    for point in one.points:
        expected = np.median(errors[point.depth]) / np.sqrt(train.var(0).sum())
        assert point.state_error == pytest.approx(expected, rel=1e-4)
    assert not one.shifted


def test_where_the_context_holds_the_frame_the_control_is_the_predictor_itself(finished):
    found = curves_of(finished, horizons=(1,))
    change, of_x = curve(found, 1, "delta"), curve(found, 1, "x")
    assert (change.shifted, of_x.shifted) == (False, True)
    for here, there in zip(change.points, of_x.points, strict=True):
        assert there.state_error == pytest.approx(here.state_error, rel=1e-3)
        assert there.nll_teacher == pytest.approx(here.nll_teacher, abs=1e-3)


def test_the_closed_form_is_that_of_the_world(finished):
    """world:ar1 has rho = .64; the run's latents say so up to their sampling error."""
    found = curves_of(finished, mode="sample")
    assert curve(found, 1, "delta").perfect_inflation == pytest.approx(1.0, abs=1e-9)
    assert curve(found, 2, "delta").perfect_inflation == pytest.approx(2.07, abs=0.25)
    assert curve(found, 2, "x").perfect_inflation is None
    assert found.train_frames == 9 * 59


def test_the_most_likely_component_of_one_gaussian_is_its_mean(finished):
    means, components = (curves_of(finished, mode=mode).curves for mode in ("mean", "component"))
    assert means == components


def test_no_utterances_are_no_frames(finished):
    assert curves_of(finished, utterances=0).curves[0].stable_milliseconds is None
    one = curve(curves_of(finished, horizons=(2,), utterances=0), 2, "delta")
    assert (one.n, one.deepest, one.points) == (0, None, ())


def test_a_run_that_predicts_x_has_that_alone(tmp_path):
    folder = made(tmp_path, "task.target=x", "task.horizons=[2]")
    assert [one.target for one in curves_of(folder).curves] == ["x"]
    with pytest.raises(UsageError, match=r"no model of the change.\nLeave out --target"):
        curves_of(folder, target="delta")


def test_a_run_without_controls_says_what_is_missing(standardized):
    found = curves_of(standardized)
    assert {one.target for one in found.curves} == {"delta"}
    assert {one.seeds for one in found.curves} == {(7, 8)}
    assert found.notes == ("no control with the target x: the run fitted none",)
    with pytest.raises(UsageError, match=r"fitted no control 'x_target' .*\n.*controls="):
        curves_of(standardized, target="x")


def test_an_unknown_horizon_names_those_there_are(finished):
    with pytest.raises(UsageError, match=r"no horizon k = 3.\nIt has: 1, 2."):
        curves_of(finished, horizons=(3,))


def test_weights_without_the_control_are_an_error_that_says_so(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    file = tmp_path / "copy" / "run" / "model-k2.safetensors"
    discard(file)
    shutil.copyfile(finished / "run" / "model-k1.safetensors", file)
    with pytest.raises(LatentbenchError, match=r"does not hold the model 'x_target'"):
        curves_of(tmp_path / "copy", target="x", horizons=(2,))


def test_the_command_prints_the_curves(finished, invoke):
    found = invoke("rollout", finished / "run", "--cache", finished / "cache", "--mode", "sample")
    assert found.exit_code == 0, found.output
    assert "k = 2 (160 ms), target x: 9 utterances" in found.stdout
    assert "A perfect linear model's samples inflate the variance" in found.stdout


def test_an_anchored_mixture_moves_by_its_most_likely_component(tmp_path, invoke):
    robust = "predictor={name: mdn-robust, tails: student-t, width: 8, components: 2}"
    made(
        tmp_path, robust, "corpus.frames=16", "task.horizons=[2]", "controls=[]", "training.steps=2"
    )
    command = ("rollout", tmp_path / "run", "--cache", tmp_path / "cache", "--utterances", "3")
    shown = [invoke(*command, "--json", "--mode", mode) for mode in ("component", "mean")]
    assert [one.exit_code for one in shown] == [0, 0]
    by_component, by_mean = (json.loads(one.stdout)["curves"][0]["points"][-1] for one in shown)
    assert by_component["n"] == by_mean["n"] > 0
    assert np.isfinite(by_component["gap_mean"])
    assert by_component["magnitude_ratio"] != by_mean["magnitude_ratio"]


def test_the_command_takes_every_option_and_prints_json_alone(finished, invoke):
    found = invoke(
        *("rollout", finished / "run", "--cache", finished / "cache", "--json"),
        *("--horizon", "2", "--mode", "mean", "--inject", "every:4", "--target", "x"),
        *("--utterances", "5", "--depths", "8,1,40,2000", "--device", "cpu"),
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert (told["mode"], told["inject"], told["utterances"]) == ("mean", "every:4", 5)
    (one,) = told["curves"]
    assert [(point["depth"], point["n"]) for point in one["points"]] == [
        (1, 5),
        (8, 5),
        (40, 5),
        (2000, 0),
    ]
    assert one["points"][3]["gap_mean"] == "NaN"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--inject", "evry:4"), "'evry:4' is no way to inject true frames"),
        (("--depths", "1,two"), "'1,two' is no list of depths such as 1,2,4,8."),
        (("--horizon", "3"), "The run has no horizon k = 3."),
        (("--mode", "median"), "'median' is not one of"),
        (("--cache", "nowhere"), "are not in the cache 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_said(finished, invoke, arguments, told):
    found = invoke("rollout", finished / "run", "--cache", finished / "cache", *arguments)
    assert found.exit_code == 2
    assert told in found.stderr


def test_a_horizon_without_a_whole_context_has_no_model_and_is_no_damage(tmp_path):
    folder = made(tmp_path, "task.horizons=[1, 100]", "corpus.speakers=4", "corpus.utterances=1")
    found = curves_of(folder, utterances=1)
    assert {one.k for one in found.curves} == {1}
    assert found.notes == ("k=100: no train frame has a whole context",)
    assert {one.k for one in injected_rollouts(opened(folder), (), "mean", SILENT).rows} == {1}
    with pytest.raises(UsageError, match="fitted no model at k = 100: no train frame") as caught:
        opened(folder).model(100, 42)
    assert caught.value.hint == "Horizons that have one: 1."
