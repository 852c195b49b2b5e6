"""The curves are whole at 80 columns, and say what they cannot."""

import io
import math

import pytest
from rich.console import Console

from latentbench.plugins import load_registry
from latentbench.reports.rollout import rollout_report
from latentbench.reports.tables import show
from latentbench.results.schema import DepthGap
from latentbench.rollout.alive import CurvePoint
from latentbench.rollout.curves import RolloutCurve, RolloutCurves
from latentbench.rollout.engine import KINDS, Injection


def point(depth, **changes):
    facts = {
        "depth": depth,
        "n": 16,
        "non_finite": 3,
        "nll_teacher": -1234.56,
        "gap_median": 17.25,
        "gap_mean": math.inf,
        "state_error": 1.234,
        "cosine": -0.056,
        "magnitude_ratio": 0.789,
        "variance_ratio": 16383.91,
        "perfect_variance_ratio": 5.22,
    }
    return CurvePoint(**(facts | changes))


def found_with(points=None, inject="never", mode="sample", **curve):
    facts = {
        "k": 2,
        "milliseconds": 160.0,
        "target": "delta",
        "utterances": 16,
        "seeds": (42,),
        "n": 32_000,
        "deepest": 1_999,
        "points": points or (point(1), point(1_024)),
        "perfect_inflation": 5.2198,
        "perfect_unbounded": 0.0,
    }
    return RolloutCurves(
        run="runs/soundstream",
        encoder="soundstream",
        corpus="librispeech train-clean-5",
        predictor="mdn",
        mode=mode,
        inject=inject,
        utterances=16,
        step_frames=1,
        stamps=("random weights",),
        train_frames=150_000,
        curves=(RolloutCurve(**(facts | curve)),),
        notes=("k=4: no finished cell",),
    )


@pytest.fixture
def shown():
    def text_of(found, width=80):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        show(rollout_report(found), console)
        return console.file.getvalue()

    return text_of


def rows_of(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_80_columns_hold_every_number_in_two_tables(shown):
    text = shown(found_with())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = rows_of(text)
    assert "1024 16 -1234.56 17.25 inf 3" in rows
    assert "1024 16 1.234 -0.056 0.789 16383.91 5.22" in rows
    assert "k = 2 (160 ms), target Δ: 16 utterances, 32,000 frames, depths to 1999" in rows
    assert "Rollout of mdn on soundstream, librispeech train-clean-5 [random weights]" in rows


def test_120_columns_hold_them_in_one(shown):
    row = "1024 16 -1234.56 17.25 inf 3 1.234 -0.056 0.789 16383.91 5.22"
    assert row in rows_of(shown(found_with(), 120))


def test_the_closed_form_is_beside_only_what_it_is_of(shown):
    line = "A perfect linear model's samples inflate the variance 5.22 times here"
    assert f"{line}." in rows_of(shown(found_with()))
    for changes in ({"mode": "mean"}, {"inject": "every:4"}):
        text = shown(found_with(**changes))
        assert f"{line} (compare --mode sample)." in " ".join(rows_of(text))
        assert "16383.91 5.22" not in " ".join(rows_of(text))
    without = shown(found_with(perfect_inflation=None, perfect_unbounded=None))
    assert "perfect" not in without


def test_growth_without_bound_says_whose(shown):
    text = shown(found_with(perfect_inflation=math.inf, perfect_unbounded=0.013))
    told = " ".join(rows_of(text))
    assert "inflate the variance without bound, by dimensions with 1.3 % of it, here." in told


@pytest.mark.parametrize(
    ("inject", "told"),
    [
        ("never", "no true frame given back"),
        ("teacher", "every true frame given back"),
        ("once:8", "the true frame given back once, at step 8"),
        ("every:8", "a true frame given back at every step that 8 divides"),
    ],
)
def test_what_was_done_is_said(shown, inject, told):
    assert f"by samples, {told}" in rows_of(shown(found_with(inject=inject)))


def test_what_is_not_there_is_blank_and_explained(shown):
    nothing = point(1, n=0, gap_median=math.nan, perfect_variance_ratio=None)
    text = shown(found_with(points=(nothing,), n=0, deepest=None, leaky=True, shifted=True))
    rows = rows_of(text)
    assert "1 0 - - - - - - - - -" in rows
    assert "k = 2 (160 ms), target Δ: 16 utterances, 0 frames" in rows
    assert "n = 0: no eval utterance drawn is long enough, or --utterances is 0" in rows
    assert "leaky: k is within the encoder's look-ahead, the context has seen the target" in rows
    assert any("both targets are one model" in row for row in rows)
    assert "k=4: no finished cell" in rows


def test_a_run_shows_the_median_gap_at_a_few_depths_in_80_columns(make_result):
    result = make_result()
    depths = tuple(
        DepthGap(depth=j, n=n, median_gap=gap, mean_gap=gap, non_finite=0)
        for j, n, gap in ((1, 16, 0.25), (8, 16, 13117.18), (64, 0, math.nan))
    )
    horizons = list(result.horizons)
    rollout = horizons[3].rollout.model_copy(update={"depths": depths})
    horizons[3] = horizons[3].model_copy(update={"rollout": rollout})
    console = Console(file=io.StringIO(), width=80, color_system=None)
    component = load_registry().get("reporter", "table")
    component.create(component.spec.options(full=True)).report(
        result.model_copy(update={"horizons": tuple(horizons)}), console
    )
    rows = rows_of(console.file.getvalue())
    assert "k ms split rollout n gap mean median non-finite med j=1 med j=8 med j=64" in rows
    assert "8 640 eval 2345 5.7e+10 412.50 0 0.25 13117.18 -" in rows


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_give_frames_back_is_said(kind, shown):
    text = shown(found_with(inject=str(Injection(kind, 37))))
    assert "true frame" in text
    assert ("37" in text) == (kind in {"once", "every", "until"})
