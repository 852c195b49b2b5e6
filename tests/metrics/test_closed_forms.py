"""The instrument on AR(1) worlds with their exact conditional (docs/calibration.md).

Tolerances are four Monte Carlo standard errors, from a jackknife over the utterances, which are
independent of one another; each error is itself bounded, so that a test can fail.
"""

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln, hyp2f1, polygamma
from torch.distributions import Independent, Normal

from latentbench.latents import Latents
from latentbench.metrics.likelihood import DeltaNLL
from latentbench.metrics.metric import merge_columns
from latentbench.metrics.predicted_mean import DirectionCosine, LogMagnitudeR2, LogMagnitudeR2Var
from latentbench.metrics.scoring import score
from latentbench.predictors import Predictor
from latentbench.specs import NoOptions
from latentbench.tasks import WindowTask

METRICS = (DeltaNLL, DirectionCosine, LogMagnitudeR2, LogMagnitudeR2Var)


class Conditional(Predictor):
    """N(gain * x_{t-k}, sigma^2) in each dimension."""

    def __init__(self, gain, variance):
        super().__init__(context_frames=1, dim=1)
        self.gain, self.sigma = gain, math.sqrt(variance)

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        mean = self.gain * context[:, -1]
        return Independent(Normal(mean, torch.full_like(mean, self.sigma)), 1)


def ar1(rho, dim, utterances, length, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(length, utterances, dim)) * math.sqrt(1 - rho**2)
    x = [rng.normal(size=(utterances, dim))]
    for innovation in noise:
        x.append(rho * x[-1] + innovation)
    names = [f"u{i}" for i in range(utterances)]
    arrays = dict(zip(names, np.stack(x, axis=1).astype(np.float32), strict=True))
    return Latents.from_arrays(arrays, dict.fromkeys(names, "s"))


def measure(rho, dim, k, *, target="delta", utterances=40, length=200, seed=0):
    """Figure and standard error of each metric, with the true conditional and marginal."""
    latents = ar1(rho, dim, utterances, length, seed)
    frames = WindowTask(8, k, target).frames(latents, range(utterances))
    gain = rho**k if target == "x" else rho ** (k - 1) * (rho - 1)
    marginal = 1.0 if target == "x" else 2 * (1 - rho)
    columns = score(
        Conditional(gain, marginal - gain**2),
        Conditional(0.0, marginal),
        frames,
        merge_columns(metric(NoOptions()) for metric in METRICS),
        max_frames=len(frames),
        batch_size=1_024,
        device=torch.device("cpu"),
    )

    def figures(keep):
        found = {}
        for cls in METRICS:
            kept = {name: values[keep] for name, values in columns.items()}
            found[cls.name] = cls(NoOptions()).statistic.of(kept)
        return found

    whole = figures(np.ones(len(frames), bool))
    without = [figures(frames.utterance != u) for u in range(utterances)]
    errors = {
        name: np.std([one[name] for one in without]) * math.sqrt(utterances - 1) for name in whole
    }
    return whole, errors


def expected_cosine(r2, dim):
    ratio = math.exp(2 * (gammaln((dim + 1) / 2) - gammaln(dim / 2)))
    return math.sqrt(r2) * (2 / dim) * ratio * hyp2f1(0.5, 0.5, (dim + 2) / 2, r2)


def expected_logmag_r2_var(r2, dim):
    a, n = dim / 2, np.arange(1, 200)
    log_terms = n * math.log(r2) + gammaln(n + 1) - (gammaln(a + n) - gammaln(a)) - 2 * np.log(n)
    return 2 * np.exp(log_terms).sum() / polygamma(1, a) - 1


def expected_logmag_r2(r2, dim):
    offset = 0.5 * math.log(r2)
    return expected_logmag_r2_var(r2, dim) - offset**2 / (polygamma(1, dim / 2) / 4)


def agrees(found, errors, name, expected, largest_error):
    assert errors[name] < largest_error
    assert found[name] == pytest.approx(expected, abs=4 * errors[name])


def test_the_formulas_give_the_published_figures():
    assert expected_cosine(0.5, 512) == pytest.approx(0.7068, abs=5e-5)
    assert expected_logmag_r2_var(0.5, 512) == pytest.approx(-0.001, abs=5e-4)
    r2 = {k: 0.64 ** (2 * (k - 1)) * 0.36 / 2 for k in (1, 2)}
    assert expected_cosine(r2[1], 32) == pytest.approx(0.419, abs=5e-4)
    assert expected_cosine(r2[2], 32) == pytest.approx(0.268, abs=5e-4)
    # These two were published as Monte Carlo figures, good to about 1 %.
    assert expected_logmag_r2(r2[1], 32) == pytest.approx(-46.8, rel=0.015)
    assert expected_logmag_r2(r2[2], 32) == pytest.approx(-107, rel=0.015)


def test_white_noise_scores_the_iid_floor_at_k_1():
    found, errors = measure(0.0, 512, 1)
    agrees(found, errors, "dnll", -177.4, 0.4)
    assert -256 * math.log(2) == pytest.approx(-177.4, abs=0.05)
    agrees(found, errors, "direction_cos", expected_cosine(0.5, 512), 1e-3)
    agrees(found, errors, "logmag_r2_var", expected_logmag_r2_var(0.5, 512), 0.05)
    agrees(found, errors, "logmag_r2", expected_logmag_r2(0.5, 512), 5.0)


@pytest.mark.parametrize(("k", "target"), [(2, "delta"), (1, "x")])
def test_white_noise_scores_nothing_elsewhere(k, target):
    # The conditional is the marginal, so the difference is 0 frame by frame.
    found, _ = measure(0.0, 512, k, target=target, utterances=4, length=60)
    assert found["dnll"] == 0.0
    assert found["direction_cos"] == 0.0


@pytest.mark.parametrize(("k", "per_dim"), [(1, -0.0992), (2, -0.0383)])
def test_ar1_scores_its_closed_forms(k, per_dim):
    r2 = 0.64 ** (2 * (k - 1)) * 0.36 / 2
    found, errors = measure(0.64, 32, k, utterances=60, length=400)
    agrees(found, errors, "dnll", 16 * math.log(1 - r2), 0.06)
    assert 0.5 * math.log(1 - r2) == pytest.approx(per_dim, abs=5e-5)
    agrees(found, errors, "direction_cos", expected_cosine(r2, 32), 0.003)
    agrees(found, errors, "logmag_r2_var", expected_logmag_r2_var(r2, 32), 0.05)
    agrees(found, errors, "logmag_r2", expected_logmag_r2(r2, 32), 2.0)


def test_ar1_scores_the_x_target_gain():
    for k in (1, 2, 4):
        found, errors = measure(0.64, 32, k, target="x")
        agrees(found, errors, "dnll", 16 * math.log(1 - 0.64 ** (2 * k)), 0.1)
