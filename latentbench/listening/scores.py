"""How near a sound is to another, by scores of the field; all of waveforms [T]."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import torch
from torchaudio.functional import melscale_fbanks, resample

__all__ = ["log_mel_distance", "multi_resolution_stft", "pesq", "si_sdr", "stoi"]

FLOOR = 1e-5  # of a magnitude: about the least step of 16 bits
WINDOW_SECONDS, MELS = 0.025, 80
# FFT size, hop and window, in samples at 24 kHz (Yamamoto et al. 2020).
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
OF_RATE = 24_000
STOI_SECONDS = 0.4  # the least: 30 frames of 12.8 ms and the rest of a window
PESQ_RATE = 16_000  # of its wide band


def si_sdr(sound: torch.Tensor, reference: torch.Tensor) -> float:
    r"""Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    .. math:: 10 \\log_{10} \\|\\alpha s\\|^2 / \\|\\alpha s - \\hat s\\|^2,
        \\quad \\alpha = \\hat s^\\top s / \\|s\\|^2

    of both without their means; inf for a multiple of the reference, -inf where nothing of it is
    there, nan where the reference is silent.
    """
    estimate, true = (one.double() - one.double().mean() for one in (sound, reference))
    if not true.any():
        return math.nan
    projected = (estimate @ true) / (true @ true) * true
    signal, noise = projected.square().sum(), (projected - estimate).square().sum()
    return float(10 * torch.log10(signal / noise)) if signal > 0 else -math.inf


def log_mel_distance(sound: torch.Tensor, reference: torch.Tensor, rate: float) -> float:
    """The mean absolute difference of log-mel magnitudes, in dB: 80 bands, 25 ms windows."""
    window = round(WINDOW_SECONDS * rate)
    bins = 2 ** math.ceil(math.log2(window))
    bank = melscale_fbanks(bins // 2 + 1, 0.0, rate / 2, MELS, round(rate), mel_scale="htk")
    one, other = (
        _magnitudes(each, bins, window // 2, window).mT @ bank for each in (sound, reference)
    )
    return float(20 * (_log10(one) - _log10(other)).abs().mean())


def multi_resolution_stft(sound: torch.Tensor, reference: torch.Tensor, rate: float) -> float:
    """Spectral convergence and log-magnitude distance over three resolutions, their mean.

    The loss of Parallel WaveGAN (Yamamoto et al. 2020); its windows are scaled to the rate.
    """
    found = []
    for bins, hop, window in RESOLUTIONS:
        sizes = [max(1, round(one * rate / OF_RATE)) for one in (hop, window)]
        fft = max(bins, 2 ** math.ceil(math.log2(sizes[1])))
        one, other = (_magnitudes(each, fft, *sizes) for each in (sound, reference))
        apart = torch.linalg.norm(other - one) / torch.linalg.norm(other).clamp_min(FLOOR)
        ratio = (one.clamp_min(FLOOR) / other.clamp_min(FLOOR)).log().abs().mean()
        found.append(float(apart + ratio))
    return sum(found) / len(found)


def stoi(sound: torch.Tensor, reference: torch.Tensor, rate: float) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), by pystoi; 1 for the same speech.

    None without pystoi; nan where less than 0.4 s is louder than 40 dB below the loudest.
    """
    if (library := _library("pystoi")) is None:
        return None
    if len(reference) < STOI_SECONDS * rate:
        return math.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(library.stoi(reference.numpy(), sound.numpy(), round(rate)))
        except RuntimeWarning:
            return math.nan


def pesq(sound: torch.Tensor, reference: torch.Tensor, rate: float) -> float | None:
    """Perceived quality by ITU-T P.862.2, wide band at 16 kHz, from 1 to 4.64; by the package pesq.

    None without it; nan below 16 kHz, of silence, and where no speech is found.
    """
    if (library := _library("pesq")) is None:
        return None
    if rate < PESQ_RATE or not (sound.any() and reference.any()):
        return math.nan
    one, true = (
        resample(each.float(), round(rate), PESQ_RATE).numpy() for each in (sound, reference)
    )
    try:
        return float(library.pesq(PESQ_RATE, true, one, "wb"))
    except library.PesqError:
        return math.nan


def _library(name: str) -> Any:
    """A library of the extra `listening`; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def _magnitudes(sound: torch.Tensor, bins: int, hop: int, window: int) -> torch.Tensor:
    """Of the short-time spectrum, [bins / 2 + 1, frames]."""
    shape = torch.hann_window(window)
    padded = torch.nn.functional.pad(sound.float(), (bins // 2, bins // 2))
    return torch.stft(padded, bins, hop, window, shape, center=False, return_complex=True).abs()


def _log10(magnitudes: torch.Tensor) -> torch.Tensor:
    return magnitudes.clamp_min(FLOOR).log10()
