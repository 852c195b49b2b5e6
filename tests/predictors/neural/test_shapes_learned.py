"""What the heads learn: two peaks where there are two, the spread of a known Gaussian."""

import importlib

import pytest
import torch

from latentbench.predictors.neural.options import HEADS, NeuralOptions

STEPS = {"lsd": 1_200}
D = 2


def trained(name, draw, steps=400):
    """A head alone, its states [N, 2] and targets [N, 2] from `draw`."""
    torch.manual_seed(0)
    options = NeuralOptions(head=name, head_width=32, head_layers=2, components=2, transforms=3)
    module, _, kind = HEADS[name].partition(":")
    head = getattr(importlib.import_module(module), kind)(options, width=2, dim=D)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    steps = STEPS.get(name, steps)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        head.loss(*draw(256)).backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def two_peaks(count):
    """+-1 on the diagonal of both dimensions, sigma 0.2; standard deviation 1.02 each."""
    sign = 2.0 * torch.randint(2, (count, 1)).float() - 1.0
    return torch.zeros(count, 2), sign + 0.2 * torch.randn(count, D)


SLOPE, SPREAD = 0.8, 0.6


def gaussian(count):
    """A target of mean 0.8 times the state and standard deviation 0.6."""
    states = torch.randn(count, 2)
    return states, SLOPE * states + SPREAD * torch.randn(count, D)


@pytest.mark.parametrize(
    "name", ["mdn", "student", "flow", "flow-matching", "energy", "lsd", "diffusion"]
)
def test_samples_show_both_of_two_peaks(name):
    head = trained(name, two_peaks)
    torch.manual_seed(1)
    drawn = head(torch.zeros(1, 2)).sample((2_000,)).squeeze(1)
    along = drawn.mean(-1)
    for sign in (1.0, -1.0):
        share = ((sign * along - 1.0).abs() < 0.5).float().mean().item()
        assert 0.35 < share < 0.65, share
    assert head(torch.zeros(1, 2)).mean.abs().max() < 0.3  # where nothing is


@pytest.mark.parametrize("name", ["energy", "lsd", "flow-matching", "diffusion"])
def test_samples_have_the_mean_and_the_spread_of_a_known_gaussian(name):
    head = trained(name, gaussian)
    torch.manual_seed(1)
    states = torch.randn(200, 2)
    drawn = head(states).sample((200,))
    mean = SLOPE * states
    missed = (drawn.mean(0) - mean).square().mean().item()
    assert missed < 0.02 * SLOPE**2  # of the variance of the mean, sampling noise included
    assert drawn.std(0).mean().item() == pytest.approx(SPREAD, rel=0.1)


def test_the_denoiser_gives_the_mean_and_no_spread():
    head = trained("denoiser", gaussian)
    torch.manual_seed(1)
    states, target = gaussian(500)
    drawn = head(states).sample((64,))
    missed = (drawn.mean(0) - target).square().mean()
    assert missed.item() == pytest.approx(SPREAD**2, rel=0.15)
    assert (drawn.var(0).mean() / missed).item() < 0.02
    peaks = trained("denoiser", two_peaks)(torch.zeros(1, 2)).sample((500,))
    assert peaks.abs().max() < 0.5  # between the peaks, where no target is
