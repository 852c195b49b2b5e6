"""Audio made for checks: deterministic, speech-like in level and spectrum, any length."""

from __future__ import annotations

import math

import torch

__all__ = ["noise", "speechlike"]

PEAK = 0.5
SYLLABLES_PER_SECOND = 4.0
HARMONICS = 20
BREATH = 0.02


def speechlike(samples: int, *, rate: float, channels: int, seed: int) -> torch.Tensor:
    """A gliding voice in syllables over a little noise, float32 [channels, samples]."""
    time = torch.arange(samples, dtype=torch.float64) / rate
    pitch = 90.0 + 17.0 * (seed % 8)
    glide = 2 * math.pi * pitch * (time + 0.02 * torch.sin(2 * math.pi * 0.7 * time))
    orders = [order for order in range(1, HARMONICS + 1) if order * pitch * 1.1 < rate / 2]
    voices = []
    for channel in range(channels):
        voice = sum((torch.sin(n * glide + channel * n) / n for n in orders), torch.zeros(samples))
        envelope = torch.sin(math.pi * SYLLABLES_PER_SECOND * time + 0.3 * seed).square()
        voices.append(voice * envelope)
    voiced = torch.stack(voices)
    breath = BREATH * noise(samples, channels=channels, seed=seed).double()
    loudest = float(voiced.abs().max()) if samples else 1.0
    return (PEAK * voiced / max(loudest, 1e-9) + breath).float()


def noise(samples: int, *, channels: int, seed: int, level: float = 1.0) -> torch.Tensor:
    """White noise uniform in -level..level, float32 [channels, samples]."""
    generator = torch.Generator().manual_seed(seed)
    return level * (2 * torch.rand(channels, samples, generator=generator) - 1)
