"""Figures from stored scores equal numpy over the whole table at once."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from latentbench.errors import LatentbenchError
from latentbench.results.assembly import metrics_of
from latentbench.results.summary import summarise_frames, summarise_rollouts

SLICES = ("all", "high_energy")


@pytest.fixture
def figures_of(config, registry):
    metrics = metrics_of(config, registry)
    absent = dict.fromkeys((one.name for one in metrics), "")

    def figures(*files, slices=SLICES, **lacking):
        return summarise_frames(files, metrics, slices, absent | lacking)

    return figures


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


def test_every_split_and_slice_equals_numpy(tmp_path, write_cell, figures_of):
    table, _ = write_cell(tmp_path / "cell", 1, 42)
    rows = {name: table[name].to_numpy() for name in table.column_names}
    figures = figures_of(tmp_path / "cell/frames.parquet")
    assert len(figures) == 2 * 2 * 9
    for figure in figures:
        inside = rows["split"] == figure.split
        if figure.slice != "all":
            inside &= rows["slice_high_energy"]
        columns = {name: rows[name][inside] for name in rows}
        assert figure.n == inside.sum() > 20
        assert figure.value == pytest.approx(expected(figure.name, columns), rel=1e-12)


def test_no_frames_are_figures_with_n_0(figures_of):
    figures = figures_of()
    assert {figure.n for figure in figures} == {0}
    assert all(np.isnan(figure.value) for figure in figures)


def test_a_figure_that_a_predictor_lacks_has_n_0_and_the_reason(tmp_path, write_cell, figures_of):
    table, _ = write_cell(tmp_path / "cell", 1, 42)
    file = tmp_path / "cell/frames.parquet"
    pq.write_table(table.drop_columns(["cosine"]), file)
    figures = figures_of(file, direction_cos="it has no mean")
    blank = [one for one in figures if one.name == "direction_cos"]
    assert {(one.n, one.low, one.interval_note) for one in blank} == {(0, None, "it has no mean")}
    assert all(np.isnan(one.value) for one in blank)
    assert all(one.n > 0 for one in figures if one.name != "direction_cos")


def test_a_column_that_is_not_there_is_named(tmp_path, write_cell, figures_of):
    table, _ = write_cell(tmp_path / "cell", 1, 42)
    file = tmp_path / "cell/frames.parquet"
    pq.write_table(table.drop_columns(["cosine"]), file)
    with pytest.raises(LatentbenchError, match=r"has no column cosine"):
        figures_of(file)


def test_an_infinite_frame_is_counted_and_makes_the_mean_infinite(tmp_path, write_cell):
    _, table = write_cell(tmp_path / "cell", 1, 42)
    gap = table["nll_rollout"].to_numpy() - table["nll_teacher"].to_numpy()
    found = summarise_rollouts([tmp_path / "cell/rollout.parquet"])
    assert (found.n, found.non_finite, found.utterances) == (21, 1, 3)
    assert found.mean_gap == np.inf
    assert found.median_gap == np.sort(gap)[10]


def test_an_empty_rollout_has_n_0(tmp_path, write_cell):
    _, table = write_cell(tmp_path / "cell", 1, 42)
    file = tmp_path / "cell/rollout.parquet"
    pq.write_table(table.slice(0, 0), file)
    assert summarise_rollouts([file]).n == 0
    assert summarise_rollouts([]).n == 0


def test_several_seeds_give_their_mean(tmp_path, write_cell, figures_of):
    files = [tmp_path / f"{seed}/frames.parquet" for seed in (1, 2)]
    for seed, file in enumerate(files, 1):
        write_cell(file.parent, 1, seed)
    first, second = (figures_of(file, slices=("all",))[0] for file in files)
    (mean, *_) = figures_of(*files, slices=("all",))
    assert mean.value == pytest.approx((first.value + second.value) / 2)
    assert mean.n == first.n
