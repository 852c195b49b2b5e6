"""`latentbench factorize` where the truth is known."""

import csv
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.api import configure, plan_factorization
from latentbench.cli import main
from latentbench.errors import BusyError, CellFailedError, UsageError
from latentbench.experiment import run_experiment
from latentbench.factoring import factorize as factorizing
from latentbench.factoring.factorize import _cut, _Grid, _stamps, foreseen
from latentbench.factoring.frames import ScoredFrames, principal_errors
from latentbench.factoring.record import FactoredRow, Factoring, Measure
from latentbench.opened import OpenedRun
from latentbench.plugins import load_registry
from latentbench.predictors.learning_curve import Convergence
from latentbench.workspace import Workspace

RHO, D, STATE = 0.9, 12, 3
# One frame of context is all that a Markov world tells, and a model of x has few parameters.
SETTINGS = {
    "encoder": "latents",
    "corpus": {
        "name": "world:factored",
        "dim": D,
        "predictable": STATE,
        "rho": RHO,
        "speakers": 40,
        "utterances": 3,
        "frames": 120,
    },
    # A full covariance: a rotation of x must not matter.
    "predictor": {"name": "linear", "covariance": "full"},
    "seeds": [0],
    "task": {"horizons_ms": [80.0], "context_ms": 80.0},
    "progress": False,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    found = lb.factorize(
        vary=["factorization.dim=3,6"], out=folder / "out", cache=folder / "cache", **SETTINGS
    )
    return folder, found


@pytest.fixture(scope="module")
def rows(made):
    return {row.label: row for row in made[1].record.rows}


def test_every_point_stands_beside_its_controls(rows):
    wanted = ["x", "linear dim=3", "pca dim=3", "random dim=3"]
    assert list(rows)[:4] == wanted
    assert {"linear dim=6", "pca dim=6", "random dim=6"} < set(rows)
    assert rows["x"].role == "latents"


def test_a_dry_run_plans_the_runs_and_makes_none(made, tmp_path):
    """All that `factorize` then makes, but principal components as good as a point."""
    asked = {**SETTINGS, "cache": made[0] / "cache"}
    plans = plan_factorization(vary=["factorization.dim=3,6"], **asked)
    assert plans.keys() == {"x"} | {
        f"{name} dim={dim}" for name in ("linear", "pca", "random") for dim in (3, 6)
    }
    runs = {row.label: row.folder for row in made[1].record.rows}
    assert {row.matched for row in made[1].record.answers} >= runs.keys() - plans.keys()
    for label, plan in plans.items():
        used = lb.read(runs[label]).record.horizons[0]
        assert plan.record.frames[used.k] == {side: used.frames[side] for side in ("train", "eval")}
    file = tmp_path / "asked.yaml"
    file.write_text(configure(**SETTINGS, preset="lb1").to_yaml())
    command = ["factorize", "--config", file, "--vary", "factorization.dim=3", "--dry-run"]
    found = CliRunner().invoke(main, [*map(str, command), "--cache", str(tmp_path / "cache")])
    assert found.exit_code == 0, found.stderr
    assert "random dim=3:" in found.stdout
    assert re.fullmatch("4 runs: about .* s in all", found.stdout.splitlines()[-1])
    assert not (tmp_path / "runs").exists()
    found = CliRunner().invoke(main, [*map(str, command), "--json"])
    assert json.loads(found.stdout)["linear dim=3"]["networks"] == 2


def test_the_state_gains_what_the_world_allows(rows):
    truth = -0.5 * STATE * math.log(1 - RHO**2)
    assert rows["linear dim=3"].gain.low < truth < rows["linear dim=3"].gain.high
    r2i = 1 - (1 - RHO**2)
    assert rows["linear dim=3"].r2i.low < r2i < rows["linear dim=3"].r2i.high


def test_what_the_state_leaves_of_x(rows):
    # All variances are 1: d of D directions are told, those of x itself all of them.
    assert rows["linear dim=3"].error.value == pytest.approx(1 - 3 / D, abs=0.02)
    assert rows["linear dim=6"].error.value == pytest.approx(1 - 6 / D, abs=0.02)
    assert rows["x"].error.value == 0


def test_the_match_is_chosen_by_the_frames_that_are_scored(made, rows):
    folder, _ = made
    x = OpenedRun(folder / "out" / "none", Workspace(folder / "cache"), load_registry())
    errors = principal_errors(x, 1, 1e-4)
    for dim in (3, 6):
        assert rows[f"pca dim={dim}"].error.value == pytest.approx(errors[dim - 1], rel=1e-6)


def test_rollouts_decoded_into_x_go_on_as_true_states_do(rows):
    """By the exact model at k = 1: the same process, and of x itself all of it."""
    for label in ("x", "linear dim=3"):
        assert rows[label].rolled.value == pytest.approx(1.0, abs=0.05)
        assert rows[label].rolled_spread.value == pytest.approx(1.0, abs=0.15)
        assert rows[label].rolled.low <= rows[label].rolled.high
    # The deepest power of two of 119 frames, one of 80 ms.
    assert (rows["x"].stable_milliseconds, rows["x"].dead_at) == (64 * 80.0, None)


def test_how_the_state_moves(rows):
    # E|z_t - z_{t-1}|^2 / E|z_t - mean|^2 = 2 (1 - rho).
    assert rows["linear dim=3"].movement.value == pytest.approx(math.sqrt(2 * (1 - RHO)), rel=0.05)
    share = STATE / D
    of_x = math.sqrt(2 * (1 - RHO * share))
    assert rows["x"].movement.value == pytest.approx(of_x, rel=0.02)
    assert rows["linear dim=3"].rank == pytest.approx(3, abs=0.1)


def test_no_factorisation_costs_less_than_x(rows):
    # The model of x has D^2 coefficients and a covariance, fitted on 26 or more speakers: each
    # costs 1 / 2n nats on other frames, and that is all that a state can save.
    parameters, frames = D * D + D * (D + 1) / 2, 26 * 3 * 119
    for label, row in rows.items():
        if label != "x":
            assert row.excess.high > -parameters / (2 * frames), label
    assert rows["linear dim=3"].excess.value < 0.1
    assert rows["pca dim=3"].excess.low > 0.5


def test_the_answer_is_given_at_matched_reconstruction(made):
    answers = {one.label: one for one in made[1].record.answers}
    found = answers["linear dim=3"]
    assert found.verdict == "easier"
    assert found.matched in {"pca dim=2", "pca dim=3", "pca dim=4"}
    assert "at matched reconstruction the state is easier to model" in found.sentence
    shown = " ".join(str(made[1]).split())
    assert " ".join(found.sentence.split()) in shown


def test_what_is_finished_is_not_run_again(made):
    folder, before = made
    stamps = {file: file.stat().st_mtime_ns for file in (folder / "out").glob("*/result.json")}
    again = lb.factorize(
        vary=["factorization.dim=3,6"], out=folder / "out", cache=folder / "cache", **SETTINGS
    )
    assert {one: one.stat().st_mtime_ns for one in stamps} == stamps
    assert again.record == before.record


def test_controls_of_other_points_do_not_wait_for_a_busy_one(made, monkeypatch):
    folder, begun = made[0], []

    def run(config, out, *given):
        begun.append(out.name)
        if out.name == "pca-dim=3" and begun.count(out.name) == 1:
            raise BusyError("Another process is working there.")
        return run_experiment(config, out, *given)

    monkeypatch.setattr(factorizing, "run_experiment", run)
    lb.factorize(
        vary=["factorization.dim=3,6"], out=folder / "out", cache=folder / "cache", **SETTINGS
    )
    first, second = (at for at, name in enumerate(begun) if name == "pca-dim=3")
    assert first < begun.index("random-dim=6") < second


def test_the_tables_are_kept_with_the_runs(made):
    folder, found = made
    assert json.loads((folder / "out" / "factorization.json").read_text()) == json.loads(
        found.to_json()
    )
    lines = (folder / "out" / "factorization.csv").read_text().splitlines()
    assert lines[0] == "row,role,dim,figure,value,low,high,n,speakers"
    one = next(line for line in lines if line.startswith("linear dim=3,point,3,gain,"))
    assert float(one.split(",")[4]) == found.record.rows[1].gain.value
    assert "x,latents,12,stable_milliseconds,5120.0,,,," in lines


def test_the_command_line_says_what_is_wrong():
    asked = ["factorize", "--corpus", "world:factored", "--encoder", "latents"]
    done = CliRunner().invoke(main, [*asked, "--vary", "factorization.dim"])
    assert done.exit_code == 2
    assert "--vary factorization.dim: it names no values" in done.stderr


def test_a_staleness_whose_context_has_seen_the_target_answers_nothing(make_result):
    result = make_result()

    def grid(*leaky):
        found = _Grid(None, Path(), None, None, frozenset())
        horizons = [one.model_copy(update={"leaky": one.k in leaky}) for one in result.horizons]
        found.results["x"] = result.model_copy(update={"horizons": tuple(horizons)})
        return found

    every = [one.k for one in result.horizons]
    assert [grid().horizon, grid(every[0]).horizon] == every[:2]
    with pytest.raises(UsageError, match="the context has seen the target"):
        _ = grid(*every).horizon


def test_without_the_control_there_is_no_gain(tmp_path):
    with pytest.raises(UsageError, match="not among `controls`"):
        lb.factorize(out=tmp_path / "out", cache=tmp_path / "c", controls=[], **SETTINGS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("movement", "rank", "budget", "kl", "wanted"),
    [
        (0.04, 8.0, 0.0, None, ["collapsed: movement 0.040"]),
        (math.nan, 8.0, 0.0, None, ["collapsed: movement nan"]),
        (0.5, 1.9, 0.0, None, ["collapsed: effective rank 1.9 of 8"]),
        (0.5, 8.0, 8.0, 6.3, ["off budget: KL 6.30 of 8 nats"]),
        (0.5, 8.0, 8.0, 6.5, []),
    ],
)
def test_what_is_stamped(movement, rank, budget, kl, wanted):
    class Options:
        pass

    options = Options()
    options.budget = budget
    # Whitening drops what hardly varies: the rank is of all of the state.
    frames = ScoredFrames(
        8, 2, {}, np.zeros(0), (), np.zeros((0, 3)), rank, past_only=False, log_volume=0.0
    )
    moved = Measure(value=movement)
    told = None if kl is None else Measure(value=kl)
    component = configure().factorization.model_copy(update={"options": options})
    assert _stamps(component, frames, moved, told) == wanted


def answered(
    *, gains=(0.6, 0.2), speakers=6, errors=(0.5, 0.5), match=("pca", 2), by="speaker", **stamps
):
    """The answer of a state of 2 dimensions, of these gains it and its match have."""
    measure = Measure(value=0.5)
    design, dim = match
    grid = _Grid(None, Path(), None, None, frozenset())
    grid.results["x"] = SimpleNamespace(config={"split": {"by": by}})
    names = ("linear dim=2", f"{design} dim={dim}", "x")
    for name, gain, error in zip(names, (*gains, 0.0), (*errors, 0.0), strict=True):
        owner = np.repeat(np.arange(speakers), 5)
        nll = np.random.default_rng(0).normal(size=len(owner))
        columns = {"nll": nll, "nll_unconditional": nll + gain + 0.01 * owner}
        grid.frames[name] = ScoredFrames(
            2, 2, columns, owner, tuple(map(str, range(speakers))), np.zeros((len(owner), 3)), 2.0,
            past_only=False, log_volume=0.0,
        )  # fmt: skip
        grid.rows[name] = FactoredRow(
            label=name, role="point", folder="", dim=dim, error=Measure(value=error),
            rebuilt_error=None, kl=None, movement=measure, rank=2.0, gain=measure, r2i=measure,
            excess=None, stamps=stamps.get(name.partition(" ")[0], ()),
        )  # fmt: skip
    return grid.answer({"name": "linear", "dim": 2}, {"name": design, "dim": dim})


@pytest.mark.parametrize(
    ("keep", "whitening", "bill"), [(1e-4, 1e-4, 0.5), (1e-2, 1e-2, 0.5), (1e-2, 1e-4, None)]
)
def test_nats_of_other_coordinates_are_no_bill(keep, whitening, bill):
    """The directions that only x has would be told for nothing."""
    grid = _Grid(None, Path(), None, None, frozenset())
    owner = np.repeat(np.arange(4), 5)
    for name, nll in (("linear", 1.0), ("x", 2.0)):
        grid.frames[name] = ScoredFrames(
            2, 2, {"nll": np.full(20, nll), "innovation": np.full(20, 1.5)}, owner, tuple("abcd"),
            np.zeros((20, 3)), 2.0, past_only=False, log_volume=0.0,
        )  # fmt: skip
    config = configure(
        preset="lb1",
        factorization={"name": "linear", "keep": keep},
        transforms=[{"name": "pca", "whiten": True, "keep": whitening}],
    )
    found = grid._excess("linear", config)
    assert (found and found.value) == bill


def test_controls_look_through_the_coordinates_of_their_point():
    def asked(point):
        return configure(preset="lb1", factorization=dict(point))

    point = {"name": "linear", "lags": 2, "keep": 1e-6, "dim": 3}
    _, _, *controls = foreseen([point], asked, D).values()
    assert controls == [{"name": name, "keep": 1e-6, "dim": 3} for name in ("pca", "random")]
    assert list(controls[0]) == ["name", "keep", "dim"]  # as a point of its own is labelled


def test_a_control_has_no_more_dimensions_than_the_latents():
    def asked(point):
        return configure(preset="lb1", factorization=dict(point))

    assert list(foreseen([{"name": "rssm", "dim": D + 4}], asked, D)) == [
        "x",
        f"rssm dim={D + 4}",
        f"pca dim={D}",
        f"random dim={D}",
    ]


def test_an_answer_is_the_difference_of_r2i_over_the_same_speakers():
    found = answered()
    # R²_I = 1 - exp(-2 G / d), d = 2, and speakers are 0.025 off on the mean.
    assert found.difference.value == pytest.approx(math.exp(-0.225) - math.exp(-0.625))
    assert found.verdict == "easier"
    assert answered(gains=(0.2, 0.6)).verdict == "harder"
    assert "one file: how files differ is unknown" in answered(speakers=1, by="file").sentence


def test_the_latents_are_not_quoted_where_their_model_says_nothing():
    assert "0.500 of x itself" in answered().sentence
    assert "of x itself" not in answered(x=("no information found by this model",)).sentence


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"linear": ("not fitted",)}, "not fitted"),
        ({"pca": ("not fitted",)}, "pca dim=2: not fitted"),
        ({"linear": ("off budget: KL 3.00 of 2 nats",)}, ""),
        # As many frames of fewer dimensions: x beside it has more numbers and no more data.
        (dict.fromkeys(("linear", "pca"), ("fewer numbers to train on than parameters",)), ""),
        ({"match": ("linear", 2)}, "these are the principal components themselves"),
        (
            {"errors": (0.91, 0.8), "match": ("pca", 1)},
            "pca dim=1 leaves 80%, so none tells as little",
        ),
        ({"errors": (0.89, 0.8), "match": ("pca", 1)}, ""),
        ({"linear": ("collapsed: movement 0.040",)}, "collapsed: movement 0.040"),
        ({"speakers": 1}, "no interval: one speaker: how speakers differ is unknown"),
        ({"gains": (math.inf, 0.2)}, ""),
        ({"gains": (math.nan, 0.2)}, "no interval: not finite for some choice of speakers"),
    ],
)
def test_there_is_no_answer_without_fitted_models_and_an_interval(case, reason):
    found = answered(**case)
    if reason:
        assert found.verdict == "withheld"
        assert found.sentence.endswith(f"untold. No answer: {reason}.")
    else:  # R²_I is 1
        assert found.verdict == "easier"


def test_what_is_not_finite_is_kept_and_read_back():
    """As rollouts that run away are, and a name that holds a comma is one cell."""
    measure = Measure(value=math.inf, low=1.5, high=math.inf, n=3, speakers=2)
    row = FactoredRow(
        label="own lags=1,2", role="point", folder="", dim=2, error=measure, rebuilt_error=None,
        kl=None, movement=Measure(value=math.nan), rank=2.0, gain=measure, r2i=measure,
        excess=None, rolled=measure,
    )  # fmt: skip
    found = Factoring(
        folder="", encoder="e", corpus="c", predictor="p", k=1, ms=80.0, rows=(row,), answers=()
    )
    back = Factoring.model_validate_json(found.to_json())
    assert back.rows[0].rolled == measure
    assert math.isnan(back.rows[0].movement.value)
    lines = list(csv.DictReader(found.to_csv().splitlines()))
    rolled = next(one for one in lines if one["figure"] == "rolled")
    assert rolled == {
        "row": "own lags=1,2", "role": "point", "dim": "2", "figure": "rolled", "value": "inf",
        "low": "1.5", "high": "inf", "n": "3", "speakers": "2",
    }  # fmt: skip


def test_a_state_whose_models_were_still_learning_is_stamped(make_result):
    result = make_result()
    cut = Convergence(steps=1, best_step=1, best_loss=1.0, last_loss=1.0, converged=False)
    first, *others = result.horizons
    unfit = first.model_copy(update={"convergence": {"predictor": (cut,)}})
    for horizons, stamps in (((first, *others), []), ((unfit, *others), ["not fitted"])):
        grid = _Grid(None, Path(), None, None, frozenset())
        grid.results["x"] = result.model_copy(update={"horizons": horizons})
        assert list(grid._withheld("x")) == stamps


def test_a_point_that_fails_leaves_the_others_their_answers(made, tmp_path):
    """With a command to give again; of a state of more directions than there are."""
    file = tmp_path / "asked.yaml"
    file.write_text(configure(**SETTINGS, preset="lb1").to_yaml())
    places = ["--out", made[0] / "out", "--cache", made[0] / "cache"]
    asked = ["factorize", "--config", file, *places, "--vary", "factorization.dim=3,200", "--json"]
    done = CliRunner().invoke(main, list(map(str, asked)))
    assert done.exit_code == 1
    assert "Not all points of the grid could be made: linear dim=200." in done.stderr
    found = Factoring.model_validate_json(done.stdout)
    assert found.answers == made[1].record.answers[:1]
    (failure,) = found.failures
    assert failure.label == "linear dim=200"
    assert "Use at most 12" in failure.error
    asked[-2] = "factorization.dim=200"
    done = CliRunner().invoke(main, list(map(str, asked)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "factorization.dim=200 was asked for" in done.stderr


def test_a_run_whose_every_cell_failed_is_named_with_the_reason(make_result):
    grid = _Grid(None, Path(), None, None, frozenset())
    result = make_result()
    first, *others = result.horizons
    failed = first.model_copy(update={"seeds": (), "status": "failed", "errors": ("too few",)})
    grid.results["x"] = result.model_copy(update={"horizons": (failed, *others)})
    with pytest.raises(CellFailedError, match="x has no figures at k = 1: too few"):
        grid._require_figures("x")


def test_an_answer_is_of_all_of_a_state():
    """Transforms may leave some of it out of what is predicted; whitening does of no variance."""
    one = ScoredFrames(
        3, 2, {}, np.zeros(0), (), np.zeros((0, 3)), 2.0, past_only=False, log_volume=0.0
    )
    cut = configure(transforms=[{"name": "pca", "components": 2}])
    assert _cut(cut, one) == ["cut: 2 of 3 dimensions"]
    assert _cut(configure(preset="lb1"), one) == []


def test_a_state_of_the_past_costs_what_the_bound_says(made):
    folder, _ = made
    # More dimensions than x has: the controls have all that there are.
    model = {"name": "rssm", "dim": 14, "budget": 4.0, "steps": 200, "width": 32, "frames": 24}
    found = lb.factorize(
        out=folder / "out",
        cache=folder / "cache",
        **{**SETTINGS, "factorization": model},
        set=["factorization.learning_rate=0.005"],
    )
    row = next(one for one in found.record.rows if one.role == "point")
    assert {one.dim for one in found.record.rows if one.label.startswith("random")} == {D}
    assert row.kl.value == pytest.approx(4.0, rel=0.2)
    assert row.stamps == ()
    assert row.excess.low > 0  # the bound lies above the NLL of x
    # What it leaves of x is at least what the past leaves: 1 - rho^2 of the state, all the rest.
    left = (STATE * (1 - RHO**2) + D - STATE) / D
    assert row.error.value > 0.97 * left
    assert row.rebuilt_error.value < row.error.value
