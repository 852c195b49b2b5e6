"""Figures from stored scores equal numpy over the whole table at once."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from latentbench.errors import LatentbenchError
from latentbench.results import summary
from latentbench.results.assembly import metric_makers
from latentbench.results.summary import mean_over_seeds, summarise_frames, summarise_rollout

SLICES = ("all", "high_energy")


@pytest.fixture
def makers(config, registry):
    return metric_makers(config, registry)


def expected(name, columns):
    """Each figure by its definition, on all frames at once."""
    m, mean = columns["log_norm"], columns["log_norm_mean"]
    return {
        "nll": columns["nll"].mean(),
        "nll_baseline": columns["nll_baseline"].mean(),
        "dnll": (columns["nll"] - columns["nll_baseline"]).mean(),
        "dnll_capacity": (columns["nll_unconditional"] - columns["nll_baseline"]).mean(),
        "dnll_context": (columns["nll"] - columns["nll_unconditional"]).mean(),
        "x_gain": (columns["nll_x"] - columns["nll_x_baseline"]).mean(),
        "direction_cos": columns["cosine"].mean(),
        "logmag_r2": 1 - np.sum((m - mean) ** 2) / np.sum((m - m.mean()) ** 2),
        "logmag_r2_var": 1 - np.var(m - mean) / np.var(m),
    }[name]


@pytest.mark.parametrize("batch", [7, 100_000])
def test_every_split_and_slice_equals_numpy(tmp_path, write_cell, makers, monkeypatch, batch):
    monkeypatch.setattr(summary, "ROWS", batch)
    table, _ = write_cell(tmp_path / "cell", 1, 42)
    rows = {name: table[name].to_numpy() for name in table.column_names}
    figures = summarise_frames(tmp_path / "cell/frames.parquet", makers, SLICES)
    assert len(figures) == 2 * 2 * 9
    for figure in figures:
        inside = rows["split"] == figure.split
        if figure.slice != "all":
            inside &= rows["slice_high_energy"]
        columns = {name: rows[name][inside] for name in rows}
        assert figure.n == inside.sum() > 20
        assert figure.value == pytest.approx(expected(figure.name, columns), rel=1e-12)


def test_no_frames_are_figures_with_n_0(makers):
    figures = summarise_frames(None, makers, SLICES)
    assert {figure.n for figure in figures} == {0}
    assert all(np.isnan(figure.value) for figure in figures)


def test_a_column_that_is_not_there_is_named(tmp_path, write_cell, makers):
    table, _ = write_cell(tmp_path / "cell", 1, 42)
    file = tmp_path / "cell/frames.parquet"
    pq.write_table(table.drop_columns(["cosine"]), file)
    with pytest.raises(LatentbenchError, match=r"has no column cosine"):
        summarise_frames(file, makers, SLICES)


def test_an_infinite_frame_is_counted_and_makes_the_mean_infinite(tmp_path, write_cell):
    _, table = write_cell(tmp_path / "cell", 1, 42)
    gap = table["nll_rollout"].to_numpy() - table["nll_teacher"].to_numpy()
    found = summarise_rollout(tmp_path / "cell/rollout.parquet")
    assert (found.n, found.non_finite, found.utterances) == (21, 1, 3)
    assert found.mean_gap == np.inf
    assert found.median_gap == np.sort(gap)[10]


def test_an_empty_rollout_has_n_0(tmp_path, write_cell):
    _, table = write_cell(tmp_path / "cell", 1, 42)
    file = tmp_path / "cell/rollout.parquet"
    pq.write_table(table.slice(0, 0), file)
    assert summarise_rollout(file).n == 0
    assert summarise_rollout(None).n == 0


def test_several_seeds_give_their_mean(tmp_path, write_cell, makers):
    per_seed = []
    for seed in (1, 2):
        write_cell(tmp_path / str(seed), 1, seed)
        per_seed.append(summarise_frames(tmp_path / f"{seed}/frames.parquet", makers, ("all",)))
    mean = mean_over_seeds(per_seed)
    assert mean[0].value == pytest.approx((per_seed[0][0].value + per_seed[1][0].value) / 2)
    assert mean[0].n == per_seed[0][0].n
