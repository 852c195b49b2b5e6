"""The instrument agrees with known truths, and a broken one does not."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from latentbench import calibration
from latentbench.calibration import HORIZONS, OF_MEAN, Check, Trial, calibrate, trials
from latentbench.cli import main
from latentbench.metrics import columns
from latentbench.metrics.likelihood import NLL, ContextNLL, DeltaNLL
from latentbench.plugins import load_registry
from latentbench.progress import SILENT
from latentbench.worlds.plugin import WORLDS

SMALL = {"speakers": 48, "utterances": 2, "frames": 60}
PLAN = (
    Trial("ar1", "exact", {**SMALL, "dim": 8}, horizons=(1, 2)),
    Trial("switching", "exact", {**SMALL, "dim": 4}, horizons=(2,)),
    Trial("markov", "exact", {**SMALL, "dim": 4, "states": 4}, horizons=(1, 2)),
    Trial("factored", "exact", {**SMALL, "dim": 6, "predictable": 2}, horizons=(2,)),
)
QUANTITIES = {
    "nll",
    "nll_baseline",
    "dnll",
    "dnll_capacity",
    "dnll_context",
    "x_gain",
    "direction_cos",
    "logmag_r2",
    "logmag_r2_var",
    "energy_score",
    "rollout_gap",
}


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture(scope="module")
def checks(registry):
    return calibrate(registry, SILENT, quick=True, plan=PLAN)


def test_the_optimal_predictor_scores_the_truth(checks):
    assert [one for one in checks if not one.agrees] == []
    of_ar1 = [one for one in checks if one.world == "ar1" and one.horizon == 1]
    assert {one.quantity for one in of_ar1} == QUANTITIES
    # What is compared is measured: intervals are narrower than the effects they are about.
    for one in of_ar1:
        if one.quantity in {"dnll", "dnll_context", "x_gain", "rollout_gap", "direction_cos"}:
            assert 0 < one.half_width < 0.5 * abs(one.truth)


def test_a_world_checks_what_it_knows_of_itself(checks):
    """A mean over peaks that nobody integrated is left out, not guessed."""
    of_markov = {one.quantity for one in checks if one.world == "markov"}
    assert of_markov == QUANTITIES - {*OF_MEAN, "rollout_gap"}
    assert {one.quantity for one in checks if one.world == "factored"} == QUANTITIES


def test_a_wrong_world_is_found_out(registry):
    trial = PLAN[0]

    class Misled(Trial):
        def config(self, registry):
            config = super().config(registry)
            options = {**config.corpus.model_dump(), "rho": 0.2}
            return config.model_copy(update={"corpus": type(config.corpus)(**options)})

    found = calibrate(registry, SILENT, quick=True, plan=[Misled(**vars(trial))])
    assert {"dnll", "dnll_context"} <= {one.quantity for one in found if not one.agrees}


def test_a_trained_network_is_no_better_than_the_optimum(registry):
    trial = Trial("ar1", "mdn", {**SMALL, "dim": 4}, horizons=(1,), steps=150, width=32)
    found = calibrate(registry, SILENT, quick=True, plan=[trial])
    assert [one for one in found if not one.agrees] == []
    dnll = next(one for one in found if one.quantity == "dnll")
    # One-sided: the same distance below the truth would be a miss.
    assert dnll.error > dnll.half_width
    assert not replace(dnll, estimate=dnll.truth - dnll.error).agrees


@pytest.mark.parametrize(
    ("estimate", "bias", "agrees"),
    [
        (1.1, (0.0, 0.0), True),
        (0.9, (0.0, 0.0), True),
        (1.3, (0.0, 0.0), False),
        (0.7, (0.0, 0.0), False),
        (1.6, (0.0, 0.5), True),
        (1.8, (0.0, 0.5), False),
        (0.7, (0.0, 0.5), False),
        (1.0, (0.3, 0.3), False),
        (float("nan"), (0.0, 0.5), False),
    ],
)
def test_agreement_is_the_interval_shifted_by_the_bias(estimate, bias, agrees):
    check = Check("ar1", "exact", 1, "nll", 1.0, estimate, 0.05, 0.2, bias)
    assert check.agrees is agrees


def test_both_calibrations_cover_every_world_and_horizon():
    for quick in (True, False):
        exact = {one.world: one.horizons for one in trials(quick=quick) if one.model == "exact"}
        assert exact.keys() == WORLDS.keys()
        assert all(k == HORIZONS for world, k in exact.items() if world != "iid")
        assert any(one.model == "mdn" for one in trials(quick=quick))


def test_the_command_prints_every_figure_and_succeeds(checks, monkeypatch):
    monkeypatch.setattr(calibration, "trials", lambda *, quick: PLAN[1:2] if quick else ())
    done = CliRunner().invoke(main, ["calibrate", "--quick", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert {one["quantity"] for one in found} == {
        one.quantity for one in checks if one.world == "switching"
    }
    assert all(one["agrees"] for one in found)


def test_a_miss_is_named_and_exit_code_1(monkeypatch):
    monkeypatch.setattr(calibration, "trials", lambda *, quick: PLAN[1:2] if quick else ())
    nll = columns.nll

    def too_low(prediction):
        return nll(prediction) - 5.0

    for metric in (NLL, DeltaNLL, ContextNLL):
        monkeypatch.setattr(metric, "columns", {**metric.columns, "nll": too_low})
    done = CliRunner().invoke(main, ["calibrate", "--quick"])
    assert done.exit_code == 1
    # One line for the world, a row for each figure that missed, and no row for the others.
    lines = [line.split() for line in done.stdout.splitlines()]
    assert "world:switching, the optimal predictor, k = 2: 9 figures, 3 of them MISS" in done.stdout
    missed = [line[1] for line in lines if line and line[0] == "2"]
    assert missed == ["nll", "dnll", "dnll_context"]
    assert "miss the truth: switching exact k=2 nll, switching exact k=2 dnll" in done.stderr
