"""Controls: x_t and Δ_t have one density shifted, and what is not context is not called so."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentbench.latents import Latents
from latentbench.metrics.columns import nll, nll_baseline, nll_unconditional, nll_x, nll_x_baseline
from latentbench.metrics.controls import Controls, Shifted, iid_floor
from latentbench.metrics.scoring import score
from latentbench.predictors import Predictor
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
DIM = 6


class LastFrame(Predictor):
    """N(a · last frame, s²): the exact conditional of a stationary process of lag 1."""

    def __init__(self, gain, sigma):
        super().__init__(context_frames=1, dim=1)
        self.gain, self.sigma = gain, sigma

    def fit(self, train, training):
        raise AssertionError(f"exact, not to be fitted on {train} by {training}")

    def forward(self, context):
        mean = self.gain * context[:, -1]
        return Independent(Normal(mean, torch.full_like(mean, self.sigma)), 1)


def white(frames=4000):
    rows = np.random.default_rng(0).normal(size=(frames, DIM)).astype(np.float32)
    return Latents.from_arrays({"u": rows}, {"u": "s"})


def frames_of(latents, k, step=1, target="delta"):
    return WindowTask(3, k, target, "own", step=step).frames(latents, [0])


@pytest.mark.parametrize(
    ("k", "step", "held"), [(1, 1, True), (2, 1, False), (2, 2, True), (1, 3, True), (1, 4, False)]
)
def test_the_floor_is_there_exactly_where_the_context_holds_the_frame_subtracted(k, step, held):
    frames = frames_of(white(40), k, step)
    assert frames.sees_previous is held
    for window, previous in zip(
        frames.batch(np.arange(5)).context, frames.previous(np.arange(5)), strict=True
    ):
        assert any(torch.equal(row, previous) for row in window) is held
    assert iid_floor(frames) == pytest.approx(-0.5 * math.log(2) * DIM if held else 0.0)


def test_white_latents_score_the_floor_and_gain_nothing_on_x():
    """The exact model of white latents: Δ_t = x_t - x_{t-1} given x_{t-1} is N(-x_{t-1}, 1)."""
    frames = frames_of(white(), 1)
    controls = Controls(x_baseline=LastFrame(0.0, 1.0))
    columns = {
        "nll": nll,
        "nll_baseline": nll_baseline,
        "nll_x": nll_x,
        "nll_x_baseline": nll_x_baseline,
    }
    found = score(
        LastFrame(-1.0, 1.0),
        LastFrame(0.0, math.sqrt(2)),
        frames,
        columns,
        max_frames=len(frames),
        batch_size=512,
        device=CPU,
        controls=controls,
    )
    np.testing.assert_allclose(found["nll_x"], found["nll_x_baseline"], atol=1e-5)
    dnll = found["nll"] - found["nll_baseline"]
    error = dnll.std() / math.sqrt(len(dnll))
    assert abs(dnll.mean() - iid_floor(frames)) < 5 * error


@pytest.mark.parametrize("k", [1, 2])
def test_a_model_of_x_is_its_own_control_of_x(k):
    """Nothing is added to x_t: the gain on it is ½ D ln(1 - rho^2k) of an AR(1), its ΔNLL."""
    rho, random = 0.8, np.random.default_rng(1)
    rows = random.normal(size=(20_000, DIM)).astype(np.float32)
    for t in range(1, len(rows)):
        rows[t] = rho * rows[t - 1] + math.sqrt(1 - rho**2) * rows[t]
    frames = frames_of(Latents.from_arrays({"u": rows}, {"u": "s"}), k, target="x")
    found = score(
        LastFrame(rho**k, math.sqrt(1 - rho ** (2 * k))),
        LastFrame(0.0, 1.0),
        frames,
        {"nll_x": nll_x, "nll_x_baseline": nll_x_baseline, "nll": nll},
        max_frames=len(frames),
        batch_size=2_000,
        device=CPU,
        controls=Controls(x_baseline=LastFrame(0.0, 1.0)),
    )
    np.testing.assert_array_equal(found["nll_x"], found["nll"])
    gain = (found["nll_x"] - found["nll_x_baseline"]).mean()
    assert gain == pytest.approx(0.5 * DIM * math.log(1 - rho ** (2 * k)), rel=0.05)


def test_a_blind_model_is_shown_zeros_and_the_targets_are_the_same():
    frames = frames_of(white(50), 2)
    blind = frames.without_context()
    which = np.arange(len(frames))
    assert blind.batch(which).context.abs().max() == 0
    assert torch.equal(blind.batch(which).target, frames.batch(which).target)
    assert frames.batch(which).context.abs().max() > 0
    found = score(
        LastFrame(-1.0, 1.0),
        LastFrame(0.0, 1.0),
        frames,
        {"nll_unconditional": nll_unconditional, "nll_baseline": nll_baseline},
        max_frames=len(frames),
        batch_size=7,
        device=CPU,
        controls=Controls(unconditional=LastFrame(5.0, 1.0)),
    )
    np.testing.assert_allclose(found["nll_unconditional"], found["nll_baseline"], rtol=1e-6)


def test_a_shifted_density_is_that_of_the_sum():
    base = Independent(Normal(torch.randn(4, DIM), torch.rand(4, DIM) + 0.5), 1)
    shift = torch.randn(4, DIM)
    moved = Independent(Normal(base.mean + shift, base.base_dist.scale), 1)
    value = torch.randn(4, DIM)
    torch.testing.assert_close(Shifted(base, shift).log_prob(value), moved.log_prob(value))
    torch.testing.assert_close(Shifted(base, shift).mean, moved.mean)
    draws = Shifted(base, shift).sample((4000,))
    torch.testing.assert_close(draws.mean(0), moved.mean, atol=0.15, rtol=0)


def test_a_column_of_a_control_that_was_not_fitted_is_refused():
    frames = frames_of(white(40), 1)
    for column, name in ((nll_unconditional, "unconditional"), (nll_x, "x_target")):
        with pytest.raises(ValueError, match=f"'{name}' was not fitted"):
            score(
                LastFrame(0.0, 1.0),
                LastFrame(0.0, 1.0),
                frames,
                {"column": column},
                max_frames=3,
                batch_size=3,
                device=CPU,
            )
