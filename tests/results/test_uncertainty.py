"""Intervals over speakers: by hand, by simulation, and at their limits."""

import math

import numpy as np
import pytest
from scipy import stats

from latentbench.metrics.statistics import Mean, Quantile, SeedMean, Skill, SpeakerTable
from latentbench.results.uncertainty import (
    Estimate,
    difference,
    difference_apart,
    estimate,
    seed_error,
    standard_error,
)


def names(count):
    return [f"s{i}" for i in range(count)]


def table(per_speaker, frames=None, statistic=None, seed=0):
    """A mean over frames, each speaker's frames around its own level."""
    per_speaker = np.asarray(per_speaker, dtype=float)
    counts = np.full(len(per_speaker), 50) if frames is None else frames
    codes = np.repeat(np.arange(len(per_speaker)), counts)
    noise = np.random.default_rng(seed).normal(size=len(codes))
    columns = {"a": per_speaker[codes] + 0.1 * noise}
    return (statistic or Mean("a")).reduce(columns, codes, names(len(per_speaker)))


def test_resamples_are_those_of_a_naive_bootstrap_of_frames():
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 40, 12)
    codes = np.repeat(np.arange(12), counts)
    a, b = rng.normal(size=(2, len(codes))) + rng.normal(size=12)[codes] + 5
    found = estimate(Skill("a", "b").reduce({"a": a, "b": b}, codes, names(12)), resamples=4_000)
    naive = []
    for _ in range(4_000):
        rows = np.concatenate([np.flatnonzero(codes == g) for g in rng.integers(0, 12, 12)])
        naive.append(1 - a[rows].mean() / b[rows].mean())
    tail = stats.norm.cdf(-stats.t.ppf(0.975, 11) * math.sqrt(12 / 11))
    low, high = np.quantile(naive, [tail, 1 - tail])
    assert found.method == "bootstrap"
    assert found.value == pytest.approx(1 - a.mean() / b.mean(), rel=1e-12)
    # Two bootstraps of one sample: the quantiles differ by what 4,000 draws leave open.
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.standard_error == pytest.approx(np.std(naive), rel=0.15)


@pytest.mark.parametrize("count", [8, 12, 40])
def test_the_bounds_part_the_draws_at_the_expanded_percentiles(count):
    """Of B draws, floor(B Φ(-t √(G/(G-1)))) lie below the interval and as many above it."""
    values = np.random.default_rng(count).normal(size=count) ** 3
    seen = []

    class Watched(SpeakerTable):
        speakers, frames, costly = tuple(names(count)), count, False

        def values(self, weights):
            seen.append(weights @ values / weights.sum(axis=1))
            return seen[-1]

    found = estimate(Watched(), resamples=2_000)
    draws = np.concatenate([one for one in seen if len(one) > count])  # not the jackknife's
    assert len(draws) == 2_000
    tail = stats.norm.cdf(-stats.t.ppf(0.975, count - 1) * math.sqrt(count / (count - 1)))
    outside = int(2_000 * tail)
    ordered = sorted(draws.tolist())
    assert found.low == ordered[outside] > ordered[outside - 1]
    assert found.high == ordered[-1 - outside] < ordered[-outside]


def test_a_costly_table_gets_the_jackknife_however_many_speakers_it_has():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 30)) + rng.normal(size=20)[:, None]
    passes = []

    class Costly(SpeakerTable):
        speakers, frames, costly = tuple(names(20)), 600, True

        def values(self, weights):
            passes.extend(weights)
            return weights @ values.sum(1) / (30 * weights.sum(1))

    found = estimate(Costly())
    means = values.mean(1)
    expected = stats.t.interval(0.95, 19, means.mean(), stats.sem(means))
    assert found.method == "jackknife"
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert len(passes) == 1 + 20
    assert estimate(SeedMean([Costly()])).method == "jackknife"
    apart = difference(Costly(), table(np.zeros(20)))
    assert apart.method == "jackknife"
    assert apart.low < apart.value < apart.high


def test_few_speakers_of_equal_size_get_students_interval_of_their_means():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 30)) + rng.normal(size=5)[:, None]
    statistic = Mean("a").reduce({"a": values.ravel()}, np.repeat(np.arange(5), 30), names(5))
    found = estimate(statistic)
    means = values.mean(1)
    expected = stats.t.interval(0.95, 4, means.mean(), stats.sem(means))
    assert found.method == "jackknife"
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert found.standard_error == pytest.approx(stats.sem(means), rel=1e-9)


@pytest.mark.parametrize("speakers", [2, 4, 8, 16, 51])
@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_intervals_cover_as_documented(speakers, law):
    # Speakers of 200 to 1,500 frames, their level drawn from a law with mean 0. A ratio of
    # sums over speakers, one row each, stands for the mean over their frames.
    rng = np.random.default_rng(speakers)
    trials, hits = 300, 0
    for trial in range(trials):
        frames = rng.integers(200, 1_500, speakers)
        level = rng.normal(size=speakers) if law == "normal" else rng.exponential(size=speakers) - 1
        total = frames * level + 3 * np.sqrt(frames) * rng.normal(size=speakers)
        ratio = Skill("total", "frames").reduce(
            {"total": total, "frames": frames}, np.arange(speakers), names(speakers)
        )
        found = estimate(ratio, resamples=800, seed=trial)
        hits += found.low <= 1.0 <= found.high
    nominal = {"normal": 0.94, "exponential": 0.93 if speakers > 16 else 0.88}[law]
    assert hits / trials > nominal - 3 * math.sqrt(nominal * (1 - nominal) / trials)
    assert hits / trials < 0.985


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    one = table(np.random.default_rng(1).normal(size=20))
    assert estimate(one) == estimate(one)
    assert estimate(one).low != estimate(one, seed=1).low
    wider = estimate(one, level=0.99)
    assert wider.low < estimate(one).low < one.values(np.ones((1, 20)))[0] < wider.high


@pytest.mark.parametrize("speakers", [0, 1])
def test_without_two_speakers_there_is_no_interval_and_the_note_says_why(speakers):
    found = estimate(table(np.ones(speakers)))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.standard_error)
    assert found.method == "none"
    assert found.speakers == speakers
    assert found.note == (
        "one speaker: how speakers differ is unknown" if speakers else "no frames"
    )
    apart = difference(table(np.ones(speakers)), table(np.ones(speakers)))
    assert apart.distinguishable is None


def test_speakers_without_frames_are_no_speakers():
    of_two = Mean("a").reduce({"a": np.array([1.0, 2.0])}, np.array([0, 3]), names(9))
    assert of_two.speakers == ("s0", "s3")
    assert estimate(of_two).speakers == 2


def test_one_exploded_speaker_makes_the_upper_bound_infinite_and_not_the_lower():
    level = np.zeros(20)
    level[3] = np.inf
    found = estimate(table(level))
    assert found.value == np.inf
    assert np.isfinite(found.low)
    assert found.high == np.inf
    assert math.isnan(found.standard_error)
    few = estimate(table([0.0, 1.0, np.inf]))
    assert (few.method, few.note) == ("none", "not finite for some choice of speakers")


def test_a_difference_shared_by_all_speakers_is_found_where_they_differ_widely():
    level = 10 * np.random.default_rng(0).normal(size=16)
    apart = difference(table(level + 0.5), table(level, seed=1))
    assert apart.value == pytest.approx(0.5, abs=0.05)
    assert apart.high - apart.low < 0.1
    assert apart.distinguishable is True
    assert estimate(table(level)).high - estimate(table(level)).low > 1
    backwards = difference(table(level, seed=1), table(level + 0.5))
    assert backwards.value == pytest.approx(-apart.value)
    assert backwards.distinguishable is True


def test_speakers_that_gain_and_speakers_that_lose_are_not_told_apart():
    level = np.random.default_rng(0).normal(size=16)
    gain = np.tile([1.0, -1.0], 8)
    apart = difference(table(level + gain), table(level, seed=1))
    assert apart.low < 0 < apart.high
    assert apart.distinguishable is False


def test_a_difference_of_sets_is_over_the_speakers_both_have_in_any_order():
    first = table([1.0, 2.0, 4.0])
    codes = np.array([0, 1, 2, 3])
    second = Mean("a").reduce({"a": np.array([9.0, 4.0, 2.0, 9.0])}, codes, ["x", "s2", "s1", "y"])
    found = difference(first, second)
    assert found.value == pytest.approx(0.0, abs=0.05)
    assert (found.speakers, found.left_out) == (2, 3)
    nothing = difference(first, Mean("a").reduce({"a": np.ones(1)}, np.array([0]), ["x"]))
    assert math.isnan(nothing.value)
    assert (nothing.speakers, nothing.note, nothing.distinguishable) == (0, "no frames", None)


@pytest.mark.parametrize("sizes", [(5, 7), (16, 4), (2, 12)])
def test_figures_of_other_speakers_differ_as_in_welchs_test(sizes):
    rng = np.random.default_rng(3)
    sides = [rng.normal(size, 1 + size, (size, 30)) for size in sizes]
    tables = [
        Mean("a").reduce({"a": one.ravel()}, np.repeat(np.arange(len(one)), 30), names(len(one)))
        for one in sides
    ]
    found = difference_apart(*tables)
    means = [one.mean(1) for one in sides]
    welch = stats.ttest_ind(*means, equal_var=False)
    error = math.hypot(*(stats.sem(one) for one in means))
    reach = stats.t.ppf(0.975, math.floor(welch.df)) * error
    assert found.value == pytest.approx(means[0].mean() - means[1].mean())
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    wanted = welch.confidence_interval(0.95)
    assert found.low <= wanted.low + 1e-9  # whole degrees of freedom make it a little wider
    assert found.high >= wanted.high - 1e-9
    assert (found.method, found.speakers) == ("welch", sum(sizes))


def test_one_speaker_on_a_side_leaves_no_interval_of_a_difference():
    found = difference_apart(table([1.0, 2.0, 3.0]), table([5.0]))
    assert found.value == pytest.approx(-3.0, abs=0.1)
    assert found.distinguishable is None
    assert "one speaker" in found.note


def test_a_figure_does_not_differ_from_itself():
    one = table(np.random.default_rng(0).normal(size=9))
    apart = difference(one, one)
    assert (apart.value, apart.low, apart.high, apart.distinguishable) == (0.0, 0.0, 0.0, False)


def test_medians_have_intervals_too():
    found = estimate(table(np.random.default_rng(0).normal(size=30), statistic=Quantile("a")))
    assert isinstance(found, Estimate)
    assert found.low < found.value < found.high


def test_variance_is_split_into_seeds_and_speakers():
    # Figure of seed s and speaker g: a_s + b_g + c_sg, with known deviations .5, 2 and 1.
    rng = np.random.default_rng(0)
    seeds, speakers, trials = 4, 12, 300
    found = []
    for _ in range(trials):
        level = 2.0 * rng.normal(size=speakers)
        tables = [
            Mean("a").reduce(
                {"a": 0.5 * rng.normal() + level + rng.normal(size=speakers)},
                np.arange(speakers),
                names(speakers),
            )
            for _ in range(seeds)
        ]
        speaker_error = estimate(SeedMean(tables), resamples=10).standard_error
        assert speaker_error == standard_error(SeedMean(tables))
        found.append((seeds * seed_error(tables) ** 2, speaker_error**2))
    of_seeds, of_speakers = np.transpose(found)
    expected_seeds = 0.5**2 + 1 / speakers
    expected_speakers = (2.0**2 + 1 / seeds) / speakers
    for values, expected in ((of_seeds, expected_seeds), (of_speakers, expected_speakers)):
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(trials)


def test_one_seed_says_nothing_of_seeds():
    assert math.isnan(seed_error([table(np.arange(5.0))]))


def test_seeds_whose_figures_are_not_finite_have_no_error():
    of_seeds = [table([1.0, 2.0]), table([1.0, math.inf])]
    assert math.isnan(seed_error(of_seeds))


def test_the_mean_over_seeds_is_compared_like_any_figure():
    level = np.random.default_rng(0).normal(size=10)
    first = SeedMean([table(level + 1.0, seed=s) for s in range(3)])
    second = SeedMean([table(level, seed=s + 3) for s in range(2)])
    found = difference(first, second)
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.distinguishable is True
