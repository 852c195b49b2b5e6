"""Scores of sounds against their closed forms."""

import math

import pytest
import torch

from latentbench.listening.scores import log_mel_distance, multi_resolution_stft, si_sdr

RATE = 16_000


@pytest.fixture(scope="module")
def noise():
    return 0.1 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.0])
def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_powers(ratio):
    time = torch.arange(1000) / 1000 * 2 * torch.pi
    true, other = torch.sin(5 * time), torch.cos(9 * time)
    assert si_sdr(3.0 * (true + ratio * other) + 0.5, true) == pytest.approx(
        -20 * math.log10(ratio), abs=1e-3
    )


def test_si_sdr_of_a_multiple_of_silence_and_of_nothing(noise):
    assert si_sdr(-2.0 * noise, noise) > 100
    assert math.isnan(si_sdr(noise, torch.zeros_like(noise)))
    assert si_sdr(torch.zeros_like(noise), noise) == -math.inf


def test_twice_the_sound_is_six_decibels_away_in_every_band(noise):
    assert log_mel_distance(noise, noise, RATE) == 0.0
    assert log_mel_distance(2 * noise, noise, RATE) == pytest.approx(20 * math.log10(2), rel=1e-4)


def test_twice_the_sound_is_one_and_ln_2_away_by_stft(noise):
    assert multi_resolution_stft(noise, noise, RATE) == 0.0
    found = multi_resolution_stft(2 * noise, noise, RATE)
    assert found == pytest.approx(1 + math.log(2), rel=1e-3)


def test_a_silent_reference_is_a_distance_and_no_error(noise):
    silent = torch.zeros_like(noise)
    assert math.isfinite(log_mel_distance(noise, silent, RATE))
    assert math.isfinite(multi_resolution_stft(noise, silent, RATE))
