"""Rows are the tidy table's figures, or follow from the frames by arithmetic done here again."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import latentbench as lb
from latentbench.pictures.rows import rows_of, runs_to_draw


@pytest.fixture
def figures(folders):
    return lb.read(folders[0], progress=False).figures


def test_gain_and_r2i_are_those_of_the_tidy_table(runs, figures):
    rows = rows_of("gain", runs[:1])
    assert {(row["k"], row["figure"]) for row in rows} == {
        (k, name) for k in (1, 2) for name in ("gain", "r2i")
    }
    for row in rows:
        found = figures.find(row["figure"], row["k"])
        assert [row[name] for name in ("value", "low", "high", "n")] == [
            found.value,
            found.low,
            found.high,
            found.n,
        ]


def test_the_parts_of_the_split_add_up(runs, figures):
    rows = rows_of("split", runs[:1])
    for k in (1, 2):
        part = {row["part"]: row["value"] for row in rows if row["k"] == k}
        assert part["dnll"] == figures.find("dnll", k).value
        assert part["floor"] == figures.find("iid_floor", k).value
        assert part["capacity"] + part["context"] == pytest.approx(part["dnll"], abs=1e-9)


def test_speakers_weighted_by_their_frames_give_the_gain(runs, figures):
    rows = rows_of("speakers", runs[:1])
    for k in (1, 2):
        own = [row for row in rows if row["k"] == k]
        found = figures.find("gain", k)
        assert len({row["speaker"] for row in own}) == len(own) == found.speakers
        mean = np.average([row["value"] for row in own], weights=[row["n"] for row in own])
        assert mean == pytest.approx(found.value, abs=1e-9)


def test_the_folded_pit_of_the_true_family_is_flat_and_integrates_to_one(runs):
    """A linear Gaussian predictor is the truth of an AR(1): its PIT is uniform."""
    rows = rows_of("pit", runs[:1])
    for k in (1, 2):
        own = [row for row in rows if row["k"] == k]
        assert sum((row["to"] - row["from"]) * row["density"] for row in own) == pytest.approx(1)
        assert all(0.9 < row["density"] < 1.1 for row in own)


def test_the_rollout_is_the_median_gap_of_each_depth(runs, folders):
    frames = pq.read_table(folders[0] / "rollout.parquet").to_pandas()
    rows = rows_of("rollout", runs[:1])
    assert {row["depth"] for row in rows} >= {1, 2, 4, 8}
    for row in rows:
        own = frames[(frames.horizon == row["k"]) & (frames.depth == row["depth"])]
        assert row["n"] == len(own)
        assert row["value"] == pytest.approx(np.median(own.nll_rollout - own.nll_teacher))


@pytest.mark.parametrize("which", ["mean", "sample"])
def test_what_frames_of_a_rollout_do_is_of_those_of_each_depth(folders, sampled, which):
    folder = {"mean": folders[0], "sample": sampled}[which]
    frames = pq.read_table(folder / "rollout.parquet").to_pandas()
    rows = rows_of("life", runs_to_draw([folder]))
    assert {row["by"] for row in rows} == {which}
    assert {row["depth"] for row in rows} >= {1, 2, 4, 8, 16, 32}
    for row in rows:
        own = frames[(frames.horizon == row["k"]) & (frames.depth == row["depth"])]
        across = own.distance_to_true.mean()
        alike = (own.distance_to_own + own.distance_of_true).mean() / 2
        expected = {
            "movement": np.median(own.change_norm / own.true_change_norm),
            "variance": own.deviation.mean() / own.true_deviation.mean(),
            "energy distance": 1 - alike / across,
        }
        assert row["value"] == pytest.approx(expected[row["figure"]], rel=1e-5)
        assert row["n"] == len(own)


def test_it_is_dead_where_the_run_says_so(folders, sampled):
    """At the first depth where a figure is not within a half and twice the true one."""
    for folder in (folders[0], sampled):
        (run,) = runs_to_draw([folder])
        for horizon in run.result.horizons:
            own = [row for row in rows_of("life", [run]) if row["k"] == horizon.k]
            outside = [
                row["depth"]
                for row in own
                if row["figure"] != "energy distance" and not 0.5 <= row["value"] <= 2
            ]
            assert {row["depth"] for row in own if row["dead"]} == {*sorted(outside)[:1]}
            assert horizon.rollout.dead_at == min(outside, default=None)


def test_a_curve_has_every_loss_that_was_kept(runs, folders):
    kept = pq.read_table(folders[1] / "curves.parquet").to_pylist()
    rows = rows_of("curves", runs[1:])
    assert [row["loss"] for row in rows] == [one["loss"] for one in kept]
    assert {row["ms"] for row in rows} == {80.0, 160.0}


def test_a_run_that_was_not_fitted_shows_no_number_but_its_losses(runs):
    for what in ("gain", "split", "speakers", "pit", "rollout", "life"):
        assert rows_of(what, runs[1:]) == []


def test_the_headline_of_a_list_of_runs_is_the_gain_of_the_tidy_table(folders, figures):
    runs = {one.run: one for one in lb.runs(folders[0].parent).record.runs}
    told, gain = runs[folders[0].name].headline, figures.find("gain", 1)
    assert (told.value, told.low, told.high, told.note) == (gain.value, gain.low, gain.high, "")
    assert runs[folders[0].name].done == runs[folders[0].name].cells == 2
    assert runs[folders[1].name].headline.note == "not fitted"
    assert {one.status for one in runs.values()} == {"finished"}


def test_the_journal_of_a_run_holds_its_losses_and_its_figures(folders):
    lines = (folders[1] / "progress.jsonl").read_text("utf-8").splitlines()
    events = list(map(json.loads, lines))
    kept = pq.read_table(folders[1] / "curves.parquet").to_pylist()
    losses = [one for one in events if one["event"] == "loss"]
    # The control of both horizons is one network, trained once.
    assert {(one["step"], one["split"], one["loss"]) for one in losses} == {
        (one["step"], one["split"], one["loss"]) for one in kept
    }
    tidy = lb.read(folders[1], progress=False).figures
    told = [one for one in events if one["event"] == "figure"]
    assert len(told) > 10
    for one in told:
        assert one["value"] == tidy.find(one["figure"], one["k"]).value
