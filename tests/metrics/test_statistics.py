"""Figures of weighted speakers against the same figures of frames written out that often."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.metrics.statistics import (
    R2,
    Mean,
    OfFrames,
    Quantile,
    R2Var,
    SeedMean,
    Skill,
    Sums,
)

SPEAKERS = ["a", "b", "c", "d"]


def frames(n=600, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, len(SPEAKERS), n)
    a = rng.normal(size=n) + codes
    return {"a": a, "b": 0.4 * a + 0.5 * rng.normal(size=n) + 3.0}, codes


def r2(a, b):
    return 1 - ((a - b) ** 2).sum() / ((a - a.mean()) ** 2).sum()


PLAIN = {
    "mean": (Mean("a"), lambda a, _: a.mean()),
    "difference": (Mean("a", minus="b"), lambda a, b: (a - b).mean()),
    "skill": (Skill("a", "b"), lambda a, b: 1 - a.mean() / b.mean()),
    "r2": (R2("a", "b"), r2),
    "r2_var": (R2Var("a", "b"), lambda a, b: 1 - np.var(a - b) / np.var(a)),
    "sums": (
        Sums(("a",), lambda columns: [columns["a"] ** 4], lambda n, total: (total / n) ** 0.25),
        lambda a, _: np.mean(a**4) ** 0.25,
    ),
    "of frames": (
        OfFrames(("a", "b"), lambda columns: stats.spearmanr(columns["a"], columns["b"])[0]),
        lambda a, b: stats.spearmanr(a, b)[0],
    ),
    "median": (Quantile("a"), lambda a, _: np.median(a)),
    "p90": (Quantile("a", 0.9), lambda a, _: np.quantile(a, 0.9, method="averaged_inverted_cdf")),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("n", [40, 600, 5_000])
def test_weights_are_frames_written_out_that_often(name, n):
    statistic, plain = PLAIN[name]
    columns, codes = frames(n)
    table = statistic.reduce(columns, codes, SPEAKERS)
    names = [SPEAKERS[g] for g in np.unique(codes)]
    assert table.speakers == tuple(names)
    assert table.frames == n
    weights = np.random.default_rng(1).multinomial(len(names), np.ones(len(names)) / len(names), 40)
    found = table.values(weights.astype(float))
    of_speaker = dict(zip(np.unique(codes), weights.T, strict=True))
    for row, value in enumerate(found):
        times = np.array([of_speaker[code][row] for code in codes])
        expected = plain(*(np.repeat(columns[c], times) for c in ("a", "b")))
        assert value == pytest.approx(expected, rel=1e-9), row


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=40),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.sampled_from([0.1, 0.25, 0.5, 0.75]),
)
def test_quantiles_are_numpys_with_ties_and_speakers_left_out(pairs, times, q):
    values, codes = (np.array(one) for one in zip(*pairs, strict=True))
    table = Quantile("a", q).reduce({"a": values.astype(float)}, codes, SPEAKERS)
    weights = np.array([[times[SPEAKERS.index(name)] for name in table.speakers]], dtype=float)
    written_out = np.repeat(values, np.array(times)[codes])
    (found,) = table.values(weights)
    if not written_out.size:
        assert np.isnan(found)
    else:
        expected = np.quantile(written_out, q, method="averaged_inverted_cdf")
        assert found == pytest.approx(expected, abs=1e-12)


def test_an_infinite_speaker_counts_only_where_drawn():
    values = np.array([1.0, 2.0, np.inf, 4.0])
    codes = np.array([0, 0, 1, 2])
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [2.0, 0.0, 0.0]])
    found = Mean("a").reduce({"a": values}, codes, SPEAKERS).values(weights)
    assert found.tolist() == [7 / 3, np.inf, 1.5]
    found = Quantile("a").reduce({"a": values}, codes, SPEAKERS).values(weights)
    assert found.tolist() == [2.0, 3.0, 1.5]
    both = {"a": values, "b": np.array([0.0, 0.0, np.inf, 0.0])}
    found = Mean("a", minus="b").reduce(both, codes, SPEAKERS).values(weights)
    np.testing.assert_array_equal(found, [7 / 3, np.nan, 1.5])
    predicted = {"y": np.array([1.0, 2.0, 3.0, 4.0]), "p": np.array([1.0, 1.0, np.inf, 4.0])}
    found = R2("y", "p").reduce(predicted, codes, SPEAKERS).values(weights)
    assert found[1] == -np.inf
    assert np.isfinite(found[[0, 2]]).all()


def test_a_spread_far_from_zero_loses_no_digits():
    columns, codes = frames()
    far = {name: values + 2.0**26 for name, values in columns.items()}
    for statistic in (R2("a", "b"), R2Var("a", "b")):
        near, moved = (
            statistic.reduce(c, codes, SPEAKERS).values(np.ones((1, 4)))[0] for c in (columns, far)
        )
        assert moved == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize("statistic", [R2("a", "b"), R2Var("a", "b"), Skill("b", "zero")])
def test_nothing_to_explain_is_nan(statistic):
    columns = {"a": np.full(9, 0.1), "b": np.arange(9.0), "zero": np.zeros(9)}
    table = statistic.reduce(columns, np.arange(9) % 3, SPEAKERS)
    assert np.isnan(table.values(np.ones((1, 3)))).all()


def test_a_resample_of_one_value_has_no_spread_left_by_rounding():
    columns = {"y": np.array([0.3, 0.1, 0.1, 0.7]), "p": np.zeros(4)}
    for statistic in (R2("y", "p"), R2Var("y", "p")):
        table = statistic.reduce(columns, np.array([0, 1, 1, 2]), SPEAKERS)
        found = table.values(np.array([[0.0, 3.0, 0.0], [0.0, 7.0, 0.0], [1.0, 1.0, 1.0]]))
        assert np.isnan(found).tolist() == [True, True, False]


@pytest.mark.parametrize("statistic", [Mean("a"), R2("a", "a"), Quantile("a")])
def test_no_frames_are_no_figure(statistic):
    table = statistic.reduce({"a": np.empty(0)}, np.empty(0, dtype=int), SPEAKERS)
    assert (table.speakers, table.frames) == ((), 0)
    assert np.isnan(table.values(np.ones((2, 0)))).tolist() == [True, True]


def test_seeds_of_other_speakers_are_refused():
    one = Mean("a").reduce({"a": np.ones(2)}, np.array([0, 1]), SPEAKERS)
    other = Mean("a").reduce({"a": np.ones(2)}, np.array([0, 2]), SPEAKERS)
    assert SeedMean([one, one]).speakers == ("a", "b")
    for tables in ([one, other], []):
        with pytest.raises(ValueError, match="the seeds of one cell have the same speakers"):
            SeedMean(tables)


@pytest.mark.parametrize("weights", [[0.5, 1.0], [-1.0, 1.0]])
def test_frames_are_counted_a_whole_number_of_times(weights):
    table = OfFrames(("a",), lambda columns: columns["a"].max()).reduce(
        {"a": np.array([1.0, 2.0])}, np.array([0, 2]), SPEAKERS
    )
    assert (table.speakers, table.frames, table.costly) == (("a", "c"), 2, True)
    with pytest.raises(ValueError, match="a whole number of times"):
        table.values(np.array([weights]))


@pytest.mark.parametrize("name", PLAIN)
def test_no_frames_are_no_speakers_and_no_figure(name):
    nothing = {"a": np.empty(0), "b": np.empty(0)}
    table = PLAIN[name][0].reduce(nothing, np.empty(0, int), SPEAKERS)
    assert (table.speakers, table.frames) == ((), 0)
    assert np.isnan(table.values(np.ones((1, 0)))[0])
    assert np.isnan(PLAIN[name][0].of(nothing))


@pytest.mark.parametrize("name", PLAIN)
def test_the_figure_of_all_frames_is_the_plain_one(name):
    statistic, plain = PLAIN[name]
    columns, _ = frames()
    assert statistic.of(columns) == pytest.approx(plain(columns["a"], columns["b"]), rel=1e-12)
