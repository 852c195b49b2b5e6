"""The figures of a card against closed forms."""

import math

import numpy as np
import pytest
from scipy import stats

from latentbench.cards.predictable import predictable
from latentbench.cards.statistics import sample, speaker_share, statistics_of
from latentbench.factorizations.whitening import Whitening, regression
from latentbench.latents import Latents
from latentbench.worlds.gaussian import ar1, var, white_noise

RATE = 50.0


def held(rows, speakers=None):
    """Utterances [U, F, D] as latents, each of its own speaker unless told."""
    arrays = {f"u{number}": np.asarray(one, np.float32) for number, one in enumerate(rows)}
    names = speakers or list(arrays)
    return Latents.from_arrays(arrays, dict(zip(arrays, names, strict=True)), frame_rate=RATE)


def drawn(world, utterances=40, frames=1000, seed=0):
    return world.sample(utterances, frames, np.random.default_rng(seed))


def of(rows, speakers=None):
    latents = held(rows, speakers)
    return statistics_of(latents, range(len(latents.utterances)))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_an_ar1_correlates_by_the_powers_of_its_coefficient(rho):
    found = of(drawn(ar1(6, rho)))
    # The standard error of a correlation by Bartlett's formula is at most this.
    error = math.sqrt((1 + rho**2) / (1 - rho**2) / (6 * 40 * 1000))
    assert len(found.autocorrelation) == RATE
    for lag in found.autocorrelation[:8]:
        assert lag.ms == 20.0 * lag.frames
        assert lag.correlation == pytest.approx(rho**lag.frames, abs=4 * error)
    assert found.move_share == pytest.approx(math.sqrt(2 * (1 - rho)), rel=0.02)


def test_a_reversal_at_every_frame_is_known_exactly():
    found = of([[[1.0], [-1.0]] * 50])
    assert [lag.correlation for lag in found.autocorrelation[:3]] == [-1.0, 1.0, -1.0]
    assert (found.move, found.move_share, found.norm, found.norm_std) == (2.0, 2.0, 1.0, 0.0)
    assert (found.mean, found.std, found.low, found.high) == (0.0, 1.0, -1.0, 1.0)
    assert found.dim_kurtosis == (-2.0,)  # of two values of like weight


def test_directions_of_known_variances():
    # The corners of a box: a covariance that is diagonal, and exactly so.
    sides = np.array([3.0, 2.0, 1.0])
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * sides
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    found = of([corners @ turn + 5.0])
    shares = sides**2 / 14
    assert found.spectrum == pytest.approx(shares, rel=1e-5)
    assert found.participation_ratio == pytest.approx(14**2 / (81 + 16 + 1), rel=1e-5)
    assert found.effective_rank == pytest.approx(math.exp(stats.entropy(shares)), rel=1e-5)
    assert found.dim_mean == pytest.approx([5.0] * 3, rel=1e-6)


def test_tails_are_those_of_their_laws():
    random = np.random.default_rng(0)
    n = 400_000
    rows = np.stack([random.normal(size=n), random.uniform(size=n), random.laplace(size=n)], 1)
    found = of([rows]).dim_kurtosis
    expected = [float(law.stats(moments="k")) for law in (stats.norm, stats.uniform, stats.laplace)]
    assert found == pytest.approx(expected, abs=0.15)  # the eighth moment of Laplace: 4 errors
    assert found[0] == pytest.approx(0, abs=4 * math.sqrt(24 / n))
    assert found == pytest.approx(stats.kurtosis(rows.astype(np.float32).astype(float)), rel=1e-9)


@pytest.mark.parametrize("between", [0.0, 0.25, 1.0])
def test_speakers_share_what_was_put_between_them(between):
    speakers, each = 400, 3
    random = np.random.default_rng(2)
    offsets = math.sqrt(between) * random.standard_normal((speakers, 1, 1, 4))
    frames = drawn(ar1(4, 0.9), speakers * each, 100).reshape(speakers, each, 100, 4)
    rows = (frames + offsets).reshape(speakers * each, 100, 4)
    names = [f"s{number // each}" for number in range(speakers * each)]
    share = of(rows, names).speaker_share
    assert share == pytest.approx(between / (1 + between), abs=0.03)


def test_an_analysis_of_variance_agrees_with_its_textbook():
    # Two speakers, two utterances of one frame each: MSB = 16, MSW = 2, so (16 - 2) / 2 = 7.
    means = {"a": np.array([1.0]), "b": np.array([3.0]), "c": np.array([5.0]), "d": np.array([7.0])}
    who = dict(zip(means, "xxyy", strict=True))
    assert speaker_share(means, who, 14.0) == pytest.approx(0.5)
    assert speaker_share(means, dict.fromkeys(means, "x"), 14.0) is None
    assert speaker_share(means, {one: one for one in means}, 14.0) is None


def test_latents_that_never_change_have_no_shares():
    found = of(np.full((2, 30, 3), 0.5), ["a", "b"])
    assert (found.mean, found.std, found.move) == (0.5, 0.0, 0.0)
    assert found.effective_rank is None
    assert found.participation_ratio is None
    assert found.move_share is None
    assert found.speaker_share is None
    assert {lag.correlation for lag in found.autocorrelation} == {None}
    assert found.dim_kurtosis == (None,) * 3


def test_a_large_offset_costs_no_digits():
    rows = drawn(ar1(3, 0.5), 4, 500)
    one, other = of(rows), of(rows + 64.0)
    assert other.spectrum == pytest.approx(one.spectrum, rel=1e-4)
    assert other.autocorrelation[0].correlation == pytest.approx(
        one.autocorrelation[0].correlation, abs=1e-4
    )


def test_a_sample_is_evenly_spaced_and_as_large_as_was_asked():
    latents = held(np.zeros((10, 5, 2)))
    assert sample(latents, range(10)) == list(range(10))
    assert sample(latents, range(10), values=50) == [0, 2, 4, 6, 8]


SIDES = {"train": range(60), "eval": range(60, 80)}


def test_an_ar1_gains_what_gaussians_do_in_every_direction():
    dim, rho = 4, 0.9
    first, *later = predictable(held(drawn(ar1(dim, rho), 80, 500)), SIDES)
    assert first.gain == pytest.approx(-0.5 * dim * math.log(1 - rho**2), abs=0.1)
    assert first.directions == pytest.approx([first.gain / dim] * dim, abs=0.1)
    assert sum(first.directions) == pytest.approx(first.gain)
    assert [one.frames for one in later] == [4, 8, 16, 32]
    for one in later:
        expected = -0.5 * dim * math.log(1 - rho ** (2 * one.frames))
        assert one.gain == pytest.approx(expected, abs=0.1)


def test_an_autoregression_gains_its_mutual_information():
    world = var(6, 0.95, 0.2, 3)
    [first, *_] = predictable(held(drawn(world, 80, 1000)), SIDES)
    assert first.gain == pytest.approx(-world.truth(1, 8, "x").dnll_context, abs=0.1)


def test_a_gain_is_as_sure_as_its_speakers_agree():
    """Student's interval over the gains of speakers, each measured alone, of like many frames."""
    latents = held(drawn(ar1(4, 0.9), 80, 500))
    found = predictable(latents, SIDES)
    alone = [predictable(latents, {**SIDES, "eval": [one]}) for one in SIDES["eval"]]
    for number, one in enumerate(found):
        gains = [each[number].gain for each in alone]
        assert one.gain == pytest.approx(np.mean(gains))
        low, high = stats.t.interval(0.95, len(gains) - 1, np.mean(gains), stats.sem(gains))
        # The bootstrap of 20 speakers follows their skew, which Student's interval does not.
        assert (one.low, one.high) == pytest.approx((low, high), abs=0.2 * (high - low))
        assert one.speakers == 20
    assert (alone[0][0].low, alone[0][0].high, alone[0][0].speakers) == (None, None, 1)


def test_white_noise_gains_nothing():
    for one in predictable(held(drawn(white_noise(4), 80, 500)), SIDES):
        assert abs(one.gain) < 0.01


def test_too_few_frames_to_fit_on_give_no_gain():
    assert predictable(held(drawn(white_noise(8), 80, 2)), SIDES) == ()
    assert predictable(held(np.zeros((80, 50, 2))), SIDES) == ()


def test_a_regression_leaves_what_the_present_adds():
    latents = held(drawn(ar1(3, 0.8), 40, 1000))
    whitening = Whitening.fitted(latents, range(40), 1e-6)
    for horizon in (1, 3):
        _, residual = regression(whitening, latents, range(40), 2, horizon)
        expected = (1 - 0.8 ** (2 * horizon)) * np.eye(3)
        np.testing.assert_allclose(residual, expected, atol=0.02)
