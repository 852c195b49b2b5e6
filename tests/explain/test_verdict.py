"""Each explanation is judged by its criterion, and by nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest

from latentbench.explain.explain import carrying_frames, distance_bins, rank_correlation
from latentbench.explain.explanation import Carriers
from latentbench.explain.tails import Scores, tail_of
from latentbench.explain.verdict import judge, unusual
from latentbench.results.schema import LatentFacts

NOTHING = {
    "n": 4,
    "utterances": 1,
    "excess": 1e6,
    "rare": 0.0,
    "over_confident": 0.0,
    "at_clamp": 0.0,
    "extrapolated": 0.0,
    "baseline": 0.0,
    "heavy": 0.0,
    "degenerate": 0.0,
}
SOUND = LatentFacts(
    frames=1000,
    dim=64,
    constant_dims=0,
    repeats=0.0,
    silent=0.0,
    lattice=0.0,
    lattice_step=0.0,
    effective_rank=40.0,
    tiny_directions=0,
)
LATTICE = replace(SOUND, lattice=1.0, lattice_step=0.26)


def tail(nll):
    nll = np.asarray(nll, float)
    return tail_of(Scores(1, 0, "train", np.arange(len(nll)), nll, np.zeros(len(nll))))


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal(170, 30, 100_000)


@pytest.fixture
def exploded(normal):
    normal[:4] = [1e9, 4e8, 2e8, 1e8]
    return tail(normal)


def verdict(found, latents=SOUND, **changes):
    hypotheses, letter, summary = judge(found, Carriers(**(NOTHING | changes)), latents)
    return letter, {one.letter for one in hypotheses if one.holds}, summary


def test_the_weight_of_a_normal_distribution_is_the_stated_one(normal):
    found = tail(normal)
    # phi(z)/0.001 with z the 99.9 % point is the mean of the worst 0.1 %
    assert found.weight == pytest.approx(0.001 * 3.367, rel=0.05)
    assert found.spread == pytest.approx(30, rel=0.02)
    assert not unusual(found)


@pytest.mark.parametrize("draw", ["exponential", "laplace", "logistic"])
def test_tame_distributions_are_not_unusual(draw):
    assert not unusual(tail(getattr(np.random.default_rng(1), draw)(size=200_000)))


def test_one_frame_is_enough_where_it_is_unheard_of(normal):
    normal[0] = 170 + 60 * 30
    found = tail(normal)
    assert found.weight < 0.1
    assert unusual(found)


def test_infinite_and_undefined_scores_are_unusual(normal):
    normal[0] = np.inf
    found = tail(normal)
    assert (found.non_finite, found.weight, found.mean) == (1, math.inf, math.inf)
    assert unusual(found)
    assert verdict(found, extrapolated=1.0)[0] == "a"


@pytest.mark.parametrize(
    ("changes", "letter"),
    [
        ({"extrapolated": 0.5}, "a"),
        ({"extrapolated": 0.49}, "c"),
        ({"rare": 1.0}, "c"),
        ({"over_confident": 1.0, "at_clamp": 1.0}, "c"),
        ({"heavy": 0.5}, "b"),
        ({"heavy": 0.6, "extrapolated": 1.0}, "b"),
        ({"degenerate": 0.5, "extrapolated": 1.0}, "d"),
    ],
)
def test_what_explains_an_unusual_tail(exploded, changes, letter):
    assert verdict(exploded, **changes)[0] == letter


def test_degenerate_latents_are_said_beside_what_explains_the_tail(exploded):
    letter, holds, _ = verdict(exploded, LATTICE, extrapolated=0.9)
    assert (letter, holds) == ("a", {"a", "d"})


def test_without_an_unusual_tail_only_the_data_can_be_at_fault(normal):
    found = tail(normal)
    assert verdict(found, extrapolated=1.0, heavy=1.0)[:2] == ("e", {"e"})
    assert verdict(found, LATTICE)[:2] == ("d", {"d"})
    assert "lattice of step 0.26" in verdict(found, LATTICE)[2]
    assert verdict(found, None)[0] == "e"


def test_the_summary_counts_the_frames_and_names_both_means(exploded):
    summary = verdict(exploded, extrapolated=0.9)[2]
    assert "4 of 100000 frames, of 1 utterance(s), raise the mean NLL from 169" in summary
    assert "to 1.717e+04" in summary


def test_the_carriers_are_the_fewest_that_hold_nine_tenths(normal):
    normal[[7, 5, 9]] = [6e8, 3.5e8, 0.5e8]
    assert carrying_frames(normal).tolist() == [7, 5]
    normal[3] = np.inf
    assert carrying_frames(normal).tolist() == [3]


def test_bins_part_the_frames_and_share_the_excess():
    nll = np.arange(1000.0)
    bins = distance_bins(nll, np.arange(1000) / 1000)
    assert [one.n for one in bins] == [250, 250, 250, 150, 90, 9, 1]
    assert sum(one.share for one in bins) == pytest.approx(1)
    assert bins[0].share == 0
    assert bins[3].median == np.median(nll[750:900])
    assert bins[-1].n == 1
    beyond = distance_bins(nll, np.ones(1000))
    assert [one.n for one in beyond] == [0, 0, 0, 0, 0, 0, 1000]


def test_a_frame_without_end_has_the_whole_excess():
    nll = np.arange(1000.0)
    nll[30] = np.inf
    bins = distance_bins(nll, np.arange(1000) / 1000)
    assert [one.share for one in bins] == [1, 0, 0, 0, 0, 0, 0]


def test_the_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    random = np.random.default_rng(0)
    first = random.integers(0, 20, 500).astype(float)
    second = first + random.normal(size=500) * 10
    expected = spearmanr(first, second).statistic
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert math.isnan(rank_correlation(first, np.ones(500)))
