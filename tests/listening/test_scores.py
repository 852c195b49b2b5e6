"""Scores of sounds against their closed forms."""

import math
import sys

import pytest
import torch

from latentbench.listening.scores import log_mel_distance, multi_resolution_stft, pesq, si_sdr, stoi

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


@pytest.fixture(scope="module")
def bursts(noise):
    """Noise that comes and goes four times a second, as syllables do."""
    time = torch.arange(len(noise)) / RATE
    return noise * torch.sin(4 * torch.pi * time).square()


def test_stoi_is_one_for_the_same_and_falls_with_noise(bursts):
    noise = torch.randn(len(bursts), generator=torch.Generator().manual_seed(1))
    found = [stoi(bursts + level * noise, bursts, RATE) for level in (0.0, 0.02, 0.1, 1.0)]
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert found == sorted(found, reverse=True)
    louder = stoi(3.0 * (bursts + 0.1 * noise), bursts, RATE)
    assert louder == pytest.approx(found[2], abs=1e-5)  # it compares shapes of envelopes


def test_stoi_of_too_little_is_not_known(bursts):
    for length in (10, RATE // 8):
        assert math.isnan(stoi(bursts[:length], bursts[:length], RATE))
    mostly_silent = torch.cat([bursts[: RATE // 5], torch.zeros(RATE)])
    assert math.isnan(stoi(mostly_silent, mostly_silent, RATE))


@pytest.mark.parametrize("name", ["pystoi", "pesq"])
def test_a_score_without_its_library_is_not_there(bursts, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    score = {"pystoi": stoi, "pesq": pesq}[name]
    assert score(bursts, bursts, RATE) is None


def test_pesq_is_at_its_top_for_the_same_and_falls_with_noise(bursts):
    """P.862.2 maps the raw score, 4.5 for two equal sounds, to what listeners say."""
    pytest.importorskip("pesq", reason="no PESQ")
    top = 0.999 + 4 / (1 + math.exp(3.8224 - 1.3669 * 4.5))
    noise = torch.randn(len(bursts), generator=torch.Generator().manual_seed(1))
    assert pesq(bursts, bursts, RATE) == pytest.approx(top, abs=1e-3)
    assert pesq(bursts + 0.03 * noise, bursts, RATE) < top - 0.5
    assert math.isnan(pesq(bursts, bursts, 8_000))
    silence = torch.zeros(RATE)
    for too_little in (silence, torch.full((RATE,), 1e-7), bursts[: RATE // 16]):
        assert math.isnan(pesq(silence, too_little, RATE))
        assert math.isnan(pesq(too_little, silence, RATE))
    assert math.isnan(pesq(torch.zeros_like(bursts), bursts, RATE))
