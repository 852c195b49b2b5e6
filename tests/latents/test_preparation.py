"""Resampling: torchaudio's samples, in memory that does not grow with odd rates."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torchaudio.transforms import Resample

from latentbench.latents import preparation
from latentbench.latents.preparation import is_odd, resampled


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("wanted", [16_000, 24_000, 44_100, 48_000])
def test_common_rates_are_left_to_torchaudio(rate, wanted):
    assert not is_odd(rate, wanted)
    audio = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 500)).astype(np.float32))
    assert torch.equal(resampled(audio, rate, wanted), Resample(rate, wanted)(audio))


@pytest.mark.parametrize(
    ("rate", "wanted"), [(16_000, 24_000), (44_100, 16_000), (999, 1_000), (1_009, 160), (7, 900)]
)
@pytest.mark.parametrize("samples", [1, 7, 3_001])
def test_sample_by_sample_the_filter_is_torchaudios(monkeypatch, rate, wanted, samples):
    monkeypatch.setattr(preparation, "MOST_TAPS", 0)
    monkeypatch.setattr(preparation, "AT_ONCE", 10_000)  # several steps
    audio = torch.from_numpy(np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32))
    # In double precision: by default torchaudio rounds the phases of its filters to float32.
    expected = Resample(rate, wanted, dtype=torch.float64)(audio.double()).float()
    found = resampled(audio, rate, wanted)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_odd_rates_take_little_memory_and_keep_a_tone():
    """A sine of 440 Hz stays that sine; torchaudio took 8.6 GiB for the first of these."""
    program = """
import resource, torch
from latentbench.latents.preparation import resampled
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for rate, seconds in (16_001, 2), (44_099, 4), (1_000_003, 1):
    t = torch.arange(rate * seconds, dtype=torch.float64) / rate
    found = resampled(torch.sin(2 * torch.pi * 440 * t).float()[None], rate, 24_000)[0]
    assert len(found) == 24_000 * seconds
    t = torch.arange(len(found), dtype=torch.float64) / 24_000
    wrong = (found - torch.sin(2 * torch.pi * 440 * t))[1000:-1000].abs().max()
    assert wrong < 0.01, wrong  # the filter's own ripple, which it has at any rate
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 400_000  # KiB
