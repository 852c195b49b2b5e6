"""The randomness behind sample-based scores: right in distribution, and the frame's own."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal, StudentT

from latentbench.metrics import draws
from latentbench.metrics.draws import draw_blocks, uniform
from latentbench.predictors.densities import components_of
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.one_row import Repeated
from latentbench.predictors.robust import AnchoredDensity
from latentbench.predictors.standardised import Rescaled


def drawn(density, target, samples=32):
    return torch.cat([block for _, block in draw_blocks(density, target, samples)])


def mixture(rows, components=3, dim=5, seed=0):
    torch.manual_seed(seed)
    return DiagonalGaussianMixture(
        torch.randn(rows, components),
        torch.randn(rows, components, dim),
        0.3 * torch.randn(rows, components, dim),
    )


def test_draws_of_a_frame_do_not_depend_on_its_batch():
    model, target = mixture(40), torch.randn(40, 5)
    whole = drawn(model, target)
    for i in (0, 7, 39):
        alone = DiagonalGaussianMixture(
            model.logits[i : i + 1],
            model.component_means[i : i + 1],
            model.component_log_sigmas[i : i + 1],
        )
        torch.testing.assert_close(drawn(alone, target[i : i + 1])[0], whole[i])


def test_blocks_cover_a_batch_in_order(monkeypatch):
    model, target = mixture(40), torch.randn(40, 5)
    whole = drawn(model, target)
    monkeypatch.setitem(draws.BLOCK_VALUES, "cpu", 32 * 5 * 7)
    rows = [block for block, _ in draw_blocks(model, target)]
    assert [(block.start, block.stop) for block in rows] == [
        (0, 7), (7, 14), (14, 21), (21, 28), (28, 35), (35, 40),
    ]  # fmt: skip
    torch.testing.assert_close(drawn(model, target), whole, rtol=0, atol=0)


def test_frames_of_other_targets_have_other_draws_and_equal_targets_the_same():
    target = torch.randn(3, 5)
    target[2] = target[0]
    found = drawn(standard(3, 5), target)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0)
    assert not (found[0] == found[1]).any()


def standard(rows, dim):
    return Independent(Normal(torch.zeros(rows, dim), torch.ones(rows, dim)), 1)


@pytest.mark.parametrize("dim", [1, 3, 64])
def test_draws_are_normal_and_independent_of_one_another_and_of_the_target(dim):
    torch.manual_seed(0)
    target = torch.randn(4_000, dim)
    found = drawn(standard(4_000, dim), target, samples=4).double().numpy()
    assert stats.kstest(found[:, :, 0].ravel(), "norm").pvalue > 0.001
    # Correlations of independent values have standard deviation 1/sqrt(n).
    bound = 4.5 / np.sqrt(4_000)
    for i in range(4):
        assert abs(np.corrcoef(found[:, i, 0], target[:, 0])[0, 1]) < bound
        for j in range(i):
            assert abs(np.corrcoef(found[:, i, 0], found[:, j, 0])[0, 1]) < bound
            if dim > 1:
                assert abs(np.corrcoef(found[:, i, 0], found[:, j, 1])[0, 1]) < bound


def test_components_are_drawn_by_their_weights():
    rows = 20_000
    weights = torch.tensor([0.5, 0.3, 0.2])
    model = DiagonalGaussianMixture(
        weights.log().expand(rows, 3),
        torch.tensor([-100.0, 0.0, 100.0])[:, None].expand(rows, 3, 1),
        torch.zeros(rows, 3, 1),
    )
    found = drawn(model, torch.randn(rows, 1), samples=2).flatten()
    nearest = (found / 100).round().long() + 1
    counts = torch.bincount(nearest, minlength=3).numpy()
    assert stats.chisquare(counts, 2 * rows * weights.double().numpy()).pvalue > 0.001
    within = found[nearest == 1].double().numpy()
    assert stats.kstest(within, "norm").pvalue > 0.001


def test_other_densities_are_drawn_by_their_own_sampler_again_and_again_the_same():
    target = torch.randn(50, 4)
    density = Independent(StudentT(torch.full((50, 4), 5.0), 3.0, 1.0), 1)
    before = torch.get_rng_state()
    first, second = drawn(density, target), drawn(density, target)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, drawn(density, target + 1.0))
    exact = stats.t(5.0, 3.0, 1.0)
    assert stats.kstest(first.double().numpy().ravel(), exact.cdf).pvalue > 0.001


def test_one_density_serves_every_row():
    target = torch.randn(6, 4)
    for one in (standard(1, 4), Independent(StudentT(torch.full((1, 4), 5.0)), 1)):
        assert drawn(one, target).shape == (6, 32, 4)
    torch.testing.assert_close(drawn(standard(1, 4), target), drawn(standard(6, 4), target))


def test_weights_that_are_nan_give_nan_in_their_row_alone():
    model = mixture(3)
    model.logits[1] = torch.nan
    found = drawn(model, torch.randn(3, 5))
    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()


def test_uniform_numbers_are_uniform():
    found = uniform(torch.randn(5_000, 3), 4).numpy()
    assert found.min() >= 0
    assert found.max() < 1
    assert stats.kstest(found.ravel(), "uniform").pvalue > 0.001


def densities_of(rows):
    """One density of every family that is drawn by numbers of the frame alone, for `rows`."""
    torch.manual_seed(0)
    logits, gate, mean = torch.randn(40, 3), torch.randn(40), torch.randn(40, 5)
    means, log_sigmas = torch.randn(40, 3, 5), 0.3 * torch.randn(40, 3, 5)
    factor = torch.linalg.cholesky(torch.eye(5) + 0.5).double()
    learned = DiagonalGaussianMixture(logits[rows], means[rows], log_sigmas[rows])
    return {
        "mixture": learned,
        "anchored": Rescaled(
            AnchoredDensity(learned, gate[rows], 0.1), factor[4], factor.diagonal()
        ),
        "shared diagonal": SharedGaussian(mean[rows].double(), factor.diagonal()),
        "shared full": SharedGaussian(mean[rows].double(), factor),
        "one shared full": Repeated(SharedGaussian(mean[:1].double(), factor), len(mean[rows])),
    }


@pytest.mark.parametrize("name", densities_of(slice(None)))
def test_every_family_is_drawn_alike_in_any_batch(name):
    target = torch.randn(40, 5)
    whole = drawn(densities_of(slice(None))[name], target)
    part = slice(7, 9)
    found = drawn(densities_of(part)[name], target[part])
    torch.testing.assert_close(found, whole[part])


@pytest.mark.parametrize("name", densities_of(slice(None)))
def test_draws_have_the_law_of_the_family_s_own_sampler(name):
    torch.manual_seed(1)
    rows = torch.zeros(3_000, dtype=torch.long)
    density = densities_of(rows)[name]
    ours = drawn(density, torch.randn(3_000, 5), samples=2)[:, 0].double().numpy()
    own = density.sample().double().numpy()
    sums = np.array([1.0, -2.0, 0.5, 1.0, 1.0])  # sees correlations too
    for one, other in [(ours @ sums, own @ sums), *zip(ours.T, own.T, strict=True)]:
        assert stats.ks_2samp(one, other).pvalue > 0.001


@pytest.mark.parametrize("name", densities_of(slice(None)))
def test_marginals_are_those_of_the_family_s_own_sampler(name):
    torch.manual_seed(2)
    rows = torch.zeros(4_000, dtype=torch.long)
    density = densities_of(rows)[name]
    found = components_of(density).rows(slice(1))
    weights, means, sigmas = (
        part[0].double().numpy() for part in (found.weights, found.means, found.sigmas)
    )
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    own = density.sample().double().numpy()
    for d in range(5):

        def cdf(x, d=d):
            return stats.norm.cdf(x[:, None], means[:, d], sigmas[:, d]) @ weights

        assert stats.kstest(own[:, d], cdf).pvalue > 0.001


class Counted(Independent):
    """A Gaussian that counts how often it is asked."""

    asked = 0

    def sample(self, sample_shape=()):
        type(self).asked += 1
        return super().sample(sample_shape).double()

    @property
    def components(self):
        return None


def test_a_density_of_its_own_sampler_is_asked_once_for_what_several_metrics_want():
    Counted.asked = 0
    target = torch.randn(7, 3)
    density = Counted(StudentT(4.0, torch.zeros(7, 3), 1.0), 1)
    first = torch.cat([one for _, one in draw_blocks(density, target)])
    for _, one in draw_blocks(density, target):
        one.zero_()  # what a metric does to its draws is its own affair
    again = torch.cat([one for _, one in draw_blocks(density, target)])
    assert torch.equal(first, again)
    assert Counted.asked == 1
    other = torch.cat([one for _, one in draw_blocks(density, target + 1)])
    assert not torch.equal(first, other)
    assert len(torch.cat([one for _, one in draw_blocks(density, target, 5)])[0]) == 5
    assert Counted.asked == 3
